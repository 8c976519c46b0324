"""Networks that take more than one tensor: what an action moves, and the rest that stays."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Name = str | int
Moves = Name | tuple[Name, ...] | Callable[[Any], tuple[Tensor, Callable[[Tensor], Any]]]
INDEX = "batch"  # by this name networks for graphs take the sample that each point is of


@dataclass(frozen=True)
class Parts:
    """What each part of the user's samples is, as the user says it: no shape can tell.

    Attributes:
        moves: the part that moves, by name or place; several that move together, whose numbers
            are put side by side; or a callable from a batch to what moves and a function that
            restores the batch from it.
        shared: the parts that belong to all samples together; None where the user said nothing.
            All other tensors have an entry for each sample.
        mask: the part that says which points are there, beside those called "mask".
    """

    moves: Moves
    shared: Sequence[Name] | None = None
    mask: Name | None = None

    def __post_init__(self) -> None:
        names = self.movers()
        if not callable(self.moves) and any(
            isinstance(name, bool) or not isinstance(name, (str, int)) for name in names
        ):
            raise TypeError(f"moves must be a name, a place or a callable, got {self.moves!r}")
        if isinstance(self.shared, str) or not isinstance(self.shared, (Sequence, type(None))):
            raise TypeError(
                f"shared must be a tuple of names or places, as shared=({self.shared!r},); "
                f"got {self.shared!r}"
            )
        if both := set(names) & set(self.shared or ()):
            raise ValueError(f"{both.pop()!r} cannot both move and be shared by all samples")

    def movers(self) -> tuple:
        """The parts that move."""
        return self.moves if isinstance(self.moves, tuple) and self.moves else (self.moves,)

    def moved(self, name: Name, held: Any) -> bool:
        """Whether a part moves."""
        return any(_place(each, held) == name for each in self.movers())

    def shares(self, name: Name, held: Any) -> bool:
        """Whether a part belongs to all samples."""
        return any(_place(each, held) == name for each in self.shared or ())

    def check(self, held: Any) -> None:
        """Refuse names that the samples do not have."""
        for each in (*(self.shared or ()), *(() if self.mask is None else (self.mask,))):
            if _place(each, held) not in parts_of(held):
                raise ValueError(f"the data have no {each!r}: got {described(held)}")


@dataclass(frozen=True)
class Samples:
    """Some samples of all that a network is called with.

    Attributes:
        held: a mapping, a tuple or an object with attributes.
        parts: what its parts are.
        flat: names of what the network takes with the points of all samples one after another,
            beside a "batch" that says whose each is.
        kind: samples of one kind can be paired.
    """

    held: Any
    parts: Parts
    flat: frozenset = frozenset()
    kind: Hashable = None

    def __post_init__(self) -> None:
        self.parts.check(self.held)
        check_lengths(self.held, self.parts, len(self.moved))

    @cached_property
    def moved(self) -> Float[Tensor, "n ..."]:
        """What the action moves, samples first."""
        return named(self.held, self.parts.moves)

    def take(self, places: slice | Int[Tensor, " k"]) -> Samples:
        """Some of the samples."""
        return replace(self, held=cut(self.held, self.parts, places))

    def masks(self) -> list[Tensor]:
        """What says which points are there: the part of that name, and those called "mask"."""
        shape, asked = self.moved.shape[:2], self.parts.mask
        held = parts_of(self.held)
        found = [
            value
            for name, value in held.items()
            if "mask" in str(name)
            and isinstance(value, Tensor)
            and len(shape) == 2
            and value.shape[:2] == shape
        ]
        if asked is None:
            return found
        value = held[_place(asked, self.held)]
        if not isinstance(value, Tensor) or value.shape[:2] != shape:
            came = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"mask={asked!r} must be of shape {tuple(shape)}, got {came}")
        return [value, *(each for each in found if each is not value)]

    def ready(self, device: torch.device) -> Samples:
        """On a device, and so that autograd takes them, which it does not of inference mode."""

        def usable(t: Tensor) -> Tensor:
            t = t.detach().to(device)
            return t.clone() if t.is_inference() else t

        return replace(self, held=_each(usable, self.held))

    def restore(self, moved: Float[Tensor, "n ..."]) -> Any:
        """What the network is called with, once the samples have moved.

        Numbers of the precision that the samples had come in that of the moved ones.
        """
        own = self.moved.dtype
        held = _each(lambda t: t.to(moved.dtype) if t.dtype == own else t, self.held)
        held = with_parts(held, _apart(self.held, self.parts.moves, moved))
        if self.flat:
            places = torch.arange(len(moved), device=moved.device)
            joined = {name: held[name].flatten(0, 1) for name in self.flat}
            held = {**held, **joined, INDEX: places.repeat_interleave(moved.shape[1])}
        return held


@dataclass(frozen=True)
class Graphs(Samples):
    """Samples that their own class joins into a batch, as torch_geometric's do.

    Attributes:
        held: the samples, a list.
        joiner: the batch's class, which has ``from_data_list``.
    """

    joiner: Any = field(kw_only=True)

    def __post_init__(self) -> None:
        """What belongs to all is their class's to know."""

    @cached_property
    def moved(self) -> Float[Tensor, "n ..."]:
        """What the action moves, samples first."""
        return torch.stack([named(sample, self.parts.moves) for sample in self.held])

    def take(self, places: slice | Int[Tensor, " k"]) -> Graphs:
        """Some of the samples."""
        count = len(self.held)
        chosen = range(count)[places] if isinstance(places, slice) else places.tolist()
        return replace(self, held=[self.held[i] for i in chosen])

    def ready(self, device: torch.device) -> Graphs:
        """On a device."""
        return replace(self, held=[sample.to(device) for sample in self.held])

    def restore(self, moved: Float[Tensor, "n ..."]) -> Any:
        """The samples' batch, with the moved points in their place."""
        return with_parts(self._joined, _apart(self.held[0], self.parts.moves, moved.flatten(0, 1)))

    @cached_property
    def _joined(self) -> Any:
        return self.joiner.from_data_list(self.held)


@dataclass(frozen=True)
class Whole(Samples):
    """Samples taken apart by the user's own callable, which can only be used together."""

    def __post_init__(self) -> None:
        """What belongs to all is the callable's to know."""

    @cached_property
    def moved(self) -> Float[Tensor, "n ..."]:
        """What the action moves, samples first."""
        return _checked(self.held[0], "what the callable moves returns first")

    def take(self, places: slice | Int[Tensor, " k"]) -> Whole:
        """All of the samples; others cannot be had."""
        if isinstance(places, slice) and len(range(len(self.moved))[places]) == len(self.moved):
            return self
        raise ValueError(
            f"a callable moves gives {len(self.moved)} samples together, and fewer were asked "
            "for: hand in smaller batches"
        )

    def ready(self, device: torch.device) -> Whole:
        """As they are; the moved ones go to the network's device by themselves."""
        return self

    def restore(self, moved: Float[Tensor, "n ..."]) -> Any:
        """What the network is called with, once the samples have moved."""
        return self.held[1](moved)


def length_of(held: Any, parts: Parts) -> int:
    """How many samples there are, of which a callable says what moves.

    Raises:
        ValueError: if the parts that are not shared are of different lengths.
    """
    lengths = {
        name: len(value)
        for name, value in parts_of(held).items()
        if isinstance(value, Tensor) and value.ndim and not parts.shares(name, held)
    }
    if len(set(lengths.values())) != 1:
        raise ValueError(
            "all the data at once must be tensors with an entry for each sample, and what all "
            f"samples share be named, shared=(...); got lengths {lengths}"
        )
    return next(iter(lengths.values()))


def check_lengths(held: Any, parts: Parts, count: int) -> None:
    """Refuse a tensor that has no entry for each sample, and is not said to be shared."""
    for name, value in parts_of(held).items():
        if parts.shares(name, held):
            continue
        for tensor in _tensors(value):
            if tensor.ndim and len(tensor) != count:
                second = tensor.ndim > 1 and tensor.shape[1] == count
                raise ValueError(
                    f"{name!r} is of shape {tuple(tensor.shape)}, and there are {count} samples: "
                    f"if it belongs to all of them, say shared=({name!r},)"
                    + ("; if the samples come second, hand in " * second)
                    + (f"{name}.transpose(0, 1) and a function around the network" * second)
                )


def cut(held: Any, parts: Parts, places: slice | Tensor) -> Any:
    """Some of the samples, beside all that is shared."""

    def own(tensor: Tensor) -> Tensor:
        return tensor[places] if tensor.ndim else tensor

    changes = {
        name: _each(own, value)
        for name, value in parts_of(held).items()
        if not parts.shares(name, held) and any(True for _ in _tensors(value))
    }
    return with_parts(held, changes)


def named(held: Any, moves: Any) -> Tensor:
    """The tensor of a name or a place, or of several side by side.

    Raises:
        ValueError: if there is none, or they are not alike but for the numbers of each.
        TypeError: if it is no tensor, or none of floating-point numbers.
    """
    if isinstance(moves, tuple):
        together = [named(held, name) for name in moves]
        if len({part.shape[:-1] for part in together}) > 1:
            shapes = ", ".join(str(tuple(part.shape)) for part in together)
            raise ValueError(
                f"{moves!r} must be alike but for their last axis to move together; got {shapes}"
            )
        return torch.cat(together, -1)
    parts, moves = parts_of(held), _place(moves, held)
    if moves not in parts and (not isinstance(moves, str) or not hasattr(held, moves)):
        raise ValueError(f"the data have no {moves!r} that could move: got {described(held)}")
    value = parts[moves] if moves in parts else getattr(held, moves)
    return _checked(value, f"{moves!r}, which moves,")


def _apart(held: Any, moves: Any, moved: Tensor) -> dict:
    """What has moved, by the names of its parts."""
    if not isinstance(moves, tuple):
        return {moves: moved}
    sizes = [named(held, name).shape[-1] for name in moves]
    return dict(zip(moves, moved.split(sizes, -1), strict=True))


def _checked(value: Any, what: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} must be a tensor, got {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(
            f"{what} must be floating point (derivatives are taken), got {value.dtype}; of tokens "
            "or kinds their embeddings can move: hand in these"
        )
    return value


def described(held: Any) -> str:
    """What came, in words that name what can move."""
    parts = parts_of(held)
    if isinstance(held, Sequence) and not isinstance(held, str):
        return f"{type(held).__name__} of {len(held)}"
    return f"{type(held).__name__}" + (f" with {', '.join(map(repr, parts))}" if parts else "")


def parts_of(held: Any) -> dict:
    """What a batch or sample holds, by name or place."""
    if isinstance(held, Mapping):
        return dict(held)
    if isinstance(held, (tuple, list)):
        return dict(enumerate(held))
    if is_dataclass(held):
        return {part.name: getattr(held, part.name) for part in fields(held)}
    return {} if isinstance(held, Tensor) else dict(getattr(held, "__dict__", {}))


def with_parts(held: Any, changes: dict) -> Any:
    """The same, with some of its parts exchanged."""
    if isinstance(held, Mapping):
        return {**held, **changes}
    if isinstance(held, (tuple, list)):
        names = getattr(held, "_fields", ())
        parts = list(held)
        for place, value in changes.items():
            parts[names.index(place) if place in names else place] = value
        return held._make(parts) if hasattr(held, "_make") else tuple(parts)
    if is_dataclass(held) and not isinstance(held, type):
        return replace(held, **changes)
    changed = copy.copy(held)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


def _each(change: Callable[[Tensor], Tensor], held: Any) -> Any:
    """The same, with all of its tensors changed."""
    if isinstance(held, Tensor):
        return change(held)
    if isinstance(held, Mapping):
        return {name: _each(change, value) for name, value in held.items()}
    if isinstance(held, (tuple, list)):
        parts = [_each(change, value) for value in held]
        return held._make(parts) if hasattr(held, "_make") else type(held)(parts)
    tensors = {name: t for name, t in parts_of(held).items() if isinstance(t, Tensor)}
    return with_parts(held, {name: change(t) for name, t in tensors.items()}) if tensors else held


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, tuple, list)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)


def _place(name: Name, held: Any) -> Name:
    """The place of a part that is named, or counted from the end, in a tuple; else its name."""
    if isinstance(held, (tuple, list)):
        names = getattr(held, "_fields", ())
        if name in names:
            return names.index(name)
        if isinstance(name, int) and name < 0:
            return len(held) + name
    return name
