"""Data of more than one tensor, in whatever form: what an action moves, and what stays with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from .. import _draws as draws
from ..actions.vectors import Action

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Name = str | int
Moves = Name | tuple[Name, ...] | Callable[[Any], tuple[Tensor, Callable[[Tensor], Any]]]
INDEX = "batch"  # by this name networks for graphs take the sample that each point is of


@dataclass(frozen=True)
class Parts:
    """What each part of the user's samples is, as the user says it: no shape can tell."""

    # The part that moves, by name or place; several that move together, whose numbers are put side
    # by side; or a callable from a batch to what moves and a function that restores the batch from
    # it.
    moves: Moves
    # The parts that belong to all samples together; None where the user said nothing. All other
    # tensors have an entry for each sample.
    shared: Sequence[Name] | None = None
    # The part that says which points are there, beside those called "mask".
    mask: Name | None = None

    def __post_init__(self) -> None:
        names = self.movers()
        if not callable(self.moves) and any(
            isinstance(name, bool) or not isinstance(name, (str, int)) for name in names
        ):
            raise TypeError(
                f"moves must be a name, a place or a callable, got {self.moves!r}; of parts that "
                "move together a tuple of names, and of columns of several parts a callable"
            )
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
        return name in {_place(each, held) for each in self.movers()}

    def shares(self, name: Name, held: Any) -> bool:
        """Whether a part belongs to all samples."""
        return name in {_place(each, held) for each in self.shared or ()}


@dataclass(frozen=True)
class Samples:
    """Some samples of all that a network is called with."""

    held: Any  # a mapping, a tuple or an object with attributes
    parts: Parts  # what its parts are
    # Names of what the network takes with the points of all samples one after another, beside a
    # "batch" that says whose each is.
    flat: frozenset = frozenset()
    kind: Hashable = None  # samples of one kind can be paired
    places: Int[Tensor, " n"] | None = None  # of each, in the user's data

    def __post_init__(self) -> None:
        parts, held, count = self.parts, parts_of(self.held), len(self.moved)
        for each in (*(parts.shared or ()), *([] if parts.mask is None else [parts.mask])):
            if _place(each, self.held) not in held:
                raise ValueError(f"the data have no {each!r}: got {described(self.held)}")
        for name, value in held.items():
            for tensor in () if parts.shares(name, self.held) else _tensors(value):
                if not tensor.ndim or len(tensor) == count:
                    continue
                second = tensor.ndim > 1 and tensor.shape[1] == count
                raise ValueError(
                    f"{name!r} is of shape {tuple(tensor.shape)}, and there are {count} samples: "
                    f"if it belongs to all of them, say shared=({name!r},)"
                    + ("; if the samples come second, hand in " * second)
                    + (f"{name}.transpose(0, 1) and a function around the network" * second)
                )

    @cached_property
    def moved(self) -> Float[Tensor, "n ..."]:
        """What the action moves, samples first."""
        return named(self.held, self.parts.moves)

    def take(self, places: slice | Int[Tensor, " k"]) -> Samples:
        """Some of the samples."""
        return replace(self, held=cut(self.held, self.parts, places), places=self._of(places))

    def _of(self, places: slice | Int[Tensor, " k"]) -> Int[Tensor, " k"] | None:
        """The places of some of the samples in the user's data."""
        return None if self.places is None else self.places[places]

    def masks(self) -> list[Tensor]:
        """What says which points are there: the part of that name, and those called "mask"."""
        shape, asked = self.moved.shape[:2], self.parts.mask
        found: list[Tensor] = []
        for name, value in parts_of(self.held).items():
            fits = isinstance(value, Tensor) and value.shape[:2] == shape
            if asked is not None and name == _place(asked, self.held):
                if not fits:
                    came = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                    raise ValueError(f"mask={asked!r} must be of shape {tuple(shape)}, got {came}")
                found.insert(0, value)
            elif "mask" in str(name) and fits and len(shape) == 2:
                found.append(value)
        return found

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
    """Samples that their own class joins into a batch, as torch_geometric's do."""

    joiner: Any = field(kw_only=True)  # the batch's class, which has ``from_data_list``

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
        return replace(self, held=[self.held[i] for i in chosen], places=self._of(places))

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
    """The tensor of a name or a place, or of several side by side."""
    if isinstance(moves, tuple):
        together = [named(held, name) for name in moves]
        if len({part.shape[:-1] for part in together}) > 1:
            shapes = ", ".join(str(tuple(part.shape)) for part in together)
            raise ValueError(
                f"{moves!r} must be alike but for their last axis to move together; got {shapes}: "
                "else hand in a callable, moves=, that joins and parts them"
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


def batches(
    data: Any, parts: Parts, action: Action, size: int, samples: int | None = None, seed: int = 0
) -> Iterator[Samples]:
    """The user's data as batches of samples that can be paired with each other.

    A mapping or a tuple is all the data, of which ``samples`` are drawn; what else can be iterated
    yields batches or samples, whichever the action takes. Samples wait for others of their shape;
    a batch in which masks differ is taken apart.
    """
    moves = parts.moves
    if isinstance(data, (Mapping, tuple)):
        count = _length(data, parts) if callable(moves) else len(Samples(data, parts).moved)
        for some in drawn(count, samples, seed).split(size):
            held = cut(data, parts, some)
            if callable(moves):
                yield Whole(moves(held), parts, places=some)
            else:
                yield from _by_mask(Samples(held, parts, places=some))
        return
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        data = DataLoader(data, batch_size=None)
    waiting: dict[Hashable, list] = {}
    count = 0
    for item in data:
        apart = None if callable(moves) else _taken_apart(item, parts, action)
        if apart is None:
            batch = Whole(moves(item), parts) if callable(moves) else Samples(item, parts)
            batch = replace(batch, places=count + torch.arange(len(batch.moved), device="cpu"))
            count += len(batch.moved)
            yield from [batch] if callable(moves) else _by_mask(batch)
            continue
        # Whoever hands in batches knows how large they may be.
        most = size if len(apart) == 1 else min(size, len(apart))
        for kind, sample in apart:
            waiting.setdefault(kind, []).append((count, sample))
            count += 1
            if len(waiting[kind]) >= most:
                yield from _together(waiting.pop(kind), kind, parts)
    for kind in sorted(waiting, key=lambda kind: -len(waiting[kind])):
        yield from _together(waiting[kind], kind, parts)


def drawn(count: int, samples: int | None, seed: int) -> Tensor:
    """The places of some samples, drawn by the seed and in the order of the data; or of all."""
    if samples is None or samples >= count:
        return torch.arange(count, device="cpu")
    generator = draws.stream(seed, "which samples")
    return torch.randperm(count, generator=generator, device="cpu")[:samples].sort()[0]


def _length(held: Any, parts: Parts) -> int:
    """How many samples there are, of which a callable says what moves."""
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


def _taken_apart(item: Any, parts: Parts, action: Action) -> list[tuple[Hashable, Any]] | None:
    """Samples, each under what those to be joined share; None for a batch that stays as it is."""
    moves = parts.moves
    if hasattr(item, "to_data_list"):
        samples = item.to_data_list()
        return [((named(sample, moves).shape, type(item)), sample) for sample in samples]
    moved = named(item, moves)
    try:
        action.check(moved)
        return None
    except ValueError as refused:
        index = item.get(INDEX) if isinstance(item, Mapping) else None
        if isinstance(index, Tensor) and index.shape == moved.shape[:1]:
            return list(_by_index(dict(item), moved, index, parts))
        try:
            action.check(moved[None])
        except ValueError:
            raise refused from None
    if not isinstance(item, (Mapping, tuple, list)):
        raise TypeError(
            f"samples of {type(item).__name__} are joined by their own loader: hand in that, as "
            "torch_geometric.loader.DataLoader(...)"
        )
    return [((moved.shape, None), dict(item) if isinstance(item, Mapping) else item)]


def _by_index(
    item: dict, moved: Tensor, index: Tensor, parts: Parts
) -> Iterator[tuple[Hashable, Any]]:
    """The samples of points that stand one after another, whose each is the index says."""
    del item[INDEX]
    places = range(int(index.max()) + 1 if len(index) else 0)
    own = {
        name: len(value)
        for name, value in item.items()
        if isinstance(value, Tensor) and value.ndim and not parts.shares(name, item)
    }
    flat = frozenset(name for name, length in own.items() if length == len(moved))
    for name, length in own.items():
        if name not in flat and length != len(places):
            raise ValueError(
                f"beside {INDEX!r} each tensor must have an entry a point ({len(moved)}) or a "
                f"sample ({len(places)}); {name!r} is {tuple(item[name].shape)}. What all samples "
                f"share is named, shared=({name!r},); edges are joined by torch_geometric's own "
                "batches: hand in these"
            )
    for place in places:
        there = index == place
        sample = {
            name: value[there if name in flat else place] if name in own else value
            for name, value in item.items()
        }
        yield (moved[there].shape, flat), sample


def _together(waiting: list[tuple[int, Any]], kind: Any, parts: Parts) -> Iterator[Samples]:
    """Samples of one shape, each beside its place, joined."""
    _, how = kind
    found, samples = zip(*waiting, strict=True)
    places = torch.tensor(found, device="cpu")
    if how is not None and not isinstance(how, frozenset):
        yield Graphs(list(samples), parts, places=places, joiner=how)
        return
    first = parts_of(samples[0])
    shared = {name: value for name, value in first.items() if parts.shares(name, samples[0])}
    # What all share is not joined: a number stands in its place meanwhile.
    stripped = [with_parts(sample, dict.fromkeys(shared, 0)) for sample in samples]
    try:
        held = default_collate(stripped)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"samples with {parts.moves!r} of one shape {tuple(kind[0])} do not stack in all else "
            f"({str(error).splitlines()[0]}): hand in batches, or a callable moves"
        ) from error
    # A tuple's samples are joined to a list.
    held = with_parts(held, shared)
    yield from _by_mask(Samples(held, parts, how or frozenset(), places=places))


def _by_mask(samples: Samples) -> Iterator[Samples]:
    """The samples by their masks, since points that are not there pair with none that are."""
    masks = samples.masks()
    if not masks or not len(samples.moved):
        yield samples
        return
    rows = torch.cat([mask.flatten(1).double() for mask in masks], 1)
    kinds, which = torch.unique(rows, dim=0, return_inverse=True)
    for kind in torch.bincount(which).argsort(descending=True).tolist():
        part = samples.take((which == kind).nonzero()[:, 0].cpu())
        yield replace(part, kind=tuple(kinds[kind].tolist()))
