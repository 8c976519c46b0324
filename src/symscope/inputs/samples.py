"""Networks that take more than one tensor: what an action moves, and the rest that stays."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Moves = str | int | Callable[[Any], tuple[Tensor, Callable[[Tensor], Any]]]
INDEX = "batch"  # by this name networks for graphs take the sample that each point is of


@dataclass(frozen=True)
class Samples:
    """Some samples of all that a network is called with.

    Attributes:
        held: a mapping, a tuple or an object with attributes; of its tensors, those as long as
            there are samples have an entry for each, and the others belong to all.
        moves: the name or the place of what moves.
        flat: names of what the network takes with the points of all samples one after another,
            beside a "batch" that says whose each is.
        kind: samples of one kind can be paired.
    """

    held: Any
    moves: Any
    flat: frozenset = frozenset()
    kind: Hashable = None

    @cached_property
    def moved(self) -> Float[Tensor, "n ..."]:
        """What the action moves, samples first."""
        return named(self.held, self.moves)

    def take(self, places: slice | Int[Tensor, " k"]) -> Samples:
        """Some of the samples."""
        held = _each(lambda t: t[places] if is_long(t, len(self.moved)) else t, self.held)
        return Samples(held, self.moves, self.flat, self.kind)

    def ready(self, device: torch.device) -> Samples:
        """On a device, and so that autograd takes them, which it does not of inference mode."""

        def usable(t: Tensor) -> Tensor:
            t = t.detach().to(device)
            return t.clone() if t.is_inference() else t

        return Samples(_each(usable, self.held), self.moves, self.flat, self.kind)

    def restore(self, moved: Float[Tensor, "n ..."]) -> Any:
        """What the network is called with, once the samples have moved.

        Numbers of the precision that the samples had come in that of the moved ones.
        """
        own = self.moved.dtype
        held = _each(lambda t: t.to(moved.dtype) if t.dtype == own else t, self.held)
        held = _with(held, {self.moves: moved})
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

    @cached_property
    def moved(self) -> Float[Tensor, "n ..."]:
        """What the action moves, samples first."""
        return torch.stack([named(sample, self.moves) for sample in self.held])

    def take(self, places: slice | Int[Tensor, " k"]) -> Graphs:
        """Some of the samples."""
        count = len(self.held)
        chosen = range(count)[places] if isinstance(places, slice) else places.tolist()
        return self._of([self.held[i] for i in chosen])

    def ready(self, device: torch.device) -> Graphs:
        """On a device."""
        return self._of([sample.to(device) for sample in self.held])

    def restore(self, moved: Float[Tensor, "n ..."]) -> Any:
        """The samples' batch, with the moved points in their place."""
        return _with(self._joined, {self.moves: moved.flatten(0, 1)})

    @cached_property
    def _joined(self) -> Any:
        return self.joiner.from_data_list(self.held)

    def _of(self, held: list) -> Graphs:
        return Graphs(held, self.moves, self.flat, self.kind, joiner=self.joiner)


@dataclass(frozen=True)
class Whole(Samples):
    """Samples taken apart by the user's own callable, which can only be used together."""

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


class Restored(nn.Module):
    """A network as a function of what moves, with the rest of the samples at hand beside it.

    It is called with all the samples at hand or the first of them, in their order.
    """

    def __init__(self, network: Callable):
        super().__init__()
        self.network = network
        self._by_name: dict[frozenset, bool] = {}
        self.at_hand: Samples | None = None

    def beside(self, samples: Samples, device: torch.device) -> None:
        """Have these samples at hand, on a device."""
        self.at_hand = samples.ready(device)

    def part(self, places: slice) -> Restored:
        """The same network beside some of the samples at hand."""
        assert self.at_hand is not None
        part = copy.copy(self)
        part.at_hand = self.at_hand.take(places)
        return part

    @property
    def divisible(self) -> bool:
        """Whether some of the samples can be had without the others."""
        return not isinstance(self.at_hand, Whole)

    def forward(self, moved: Float[Tensor, "n ..."]) -> Any:
        """What the network returns."""
        samples = self.at_hand
        assert samples is not None and len(moved) <= len(samples.moved)
        if len(moved) < len(samples.moved):
            samples = samples.take(slice(len(moved)))
        given = samples.restore(moved)
        try:
            if isinstance(given, (tuple, list)):
                return self.network(*given)
            if isinstance(given, Mapping) and self._takes(frozenset(given)):
                return self.network(**given)
            return self.network(given)
        except TypeError as error:
            if not hasattr(error, "__notes__"):
                error.add_note(
                    f"the network was called with the data as they came, {described(given)}: leave "
                    "out what it does not take (labels), or hand in a function around it"
                )
            raise

    def _takes(self, names: frozenset) -> bool:
        """Whether the network takes these names as keywords."""
        if names not in self._by_name:
            inner = getattr(self.network, "_orig_mod", self.network)
            try:
                inspect.signature(getattr(inner, "forward", inner)).bind(**dict.fromkeys(names))
            except (TypeError, ValueError):
                self._by_name[names] = False
            else:
                self._by_name[names] = True
        return self._by_name[names]


def named(held: Any, moves: Any) -> Tensor:
    """The tensor of a name or a place.

    Raises:
        ValueError: if there is none.
        TypeError: if it is no tensor, or none of floating-point numbers.
    """
    parts = parts_of(held)
    if isinstance(moves, int) and not isinstance(held, Mapping) and parts:
        moves = range(len(parts))[moves] if -len(parts) <= moves < len(parts) else moves
    if moves not in parts and (not isinstance(moves, str) or not hasattr(held, moves)):
        raise ValueError(f"the data have no {moves!r} that could move: got {described(held)}")
    value = parts[moves] if moves in parts else getattr(held, moves)
    return _checked(value, f"{moves!r}, which moves,")


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


def _with(held: Any, changes: dict) -> Any:
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
    return _with(held, {name: change(t) for name, t in tensors.items()}) if tensors else held


def is_long(value: Any, count: int) -> bool:
    """Whether a value has an entry for each of so many."""
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == count
