"""The user's data as checked batches, each beside the inputs that its control is paired with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, default_collate

from .. import _draws as draws
from .._checks import whole
from ..actions.vectors import Action
from .samples import Parts, Samples, batches, described, drawn, parts_of

if TYPE_CHECKING:
    from jaxtyping import Int


@dataclass(frozen=True)
class Limits:
    """How much is enough for the pairings that a decision rests on."""

    samples: int = 2048  # of one tensor, if the user does not say how many
    # With 32 rows a direction the smallest variance of a pairing is some third too small, no more.
    a_direction: int = 32
    kept: int = 64  # samples of an iterable that are partners for those of later batches


LIMITS = Limits()
Groups = Sequence[int | str] | Tensor  # a label for each sample, that of what it belongs to
ITEMS = "of data that are no tensor each item is a batch: a single sample goes in as x[None]"


class Batch(NamedTuple):
    """Samples, the place of the first in the user's data, and other samples for the control.

    The control pairs the derivatives of the samples with ``others``, if there are any; what it
    is judged by, with those ``again`` in another order. Where networks take more than one
    tensor, ``samples`` holds all of them.
    """

    inputs: Tensor
    start: int
    others: Tensor
    again: Tensor
    places: Int[Tensor, " n"]  # of each in the user's data, in whose order samples need not come
    samples: Samples | None = None
    # Of each its group, or else the sample that it is a copy of; None where all differ.
    labels: Int[Tensor, " n"] | None = None
    copies: int = 0  # of samples that had come before, where there are no groups

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, without gradients."""
        inputs, others, again = (part.detach().to(device) for part in (self[0], *self[2:4]))
        return self._replace(inputs=inputs, others=others, again=again)

    def split(self, size: int) -> list[Batch]:
        """As many of its samples at a time."""
        found = []
        for k in range(0, len(self.inputs), size):
            p = slice(k, k + size)
            parts = self.inputs[p], self.start + k, self.others[p], self.again[p], self.places[p]
            labels = None if self.labels is None else self.labels[p]
            found.append(Batch(*parts, labels=labels, copies=0 if k else self.copies))
        return found


@dataclass
class Stream:
    """The user's data, batch by batch; a tensor is checked whole at once.

    In a tensor of many batches, some of them, evenly spread, have others, which are those batches'
    own samples in another order. Batches of an iterable come as they are; their samples are
    paired among themselves and with some kept from earlier batches, so that batches of one
    sample have a control, too. A dataset is read in batches of ``batch_size``. Without ``parts``
    samples are one tensor, or a tuple of which the first moves and the others are left. What the
    rest means, and what is refused, :func:`symscope.learned_symmetries` says.
    """

    data: Tensor | Iterable
    action: Action
    batch_size: int
    seed: int
    samples: int | None = None  # drawn by the seed where it is known of how many, else the first
    parts: Parts | None = None
    control_samples: int | None = None
    groups: Groups | None = None
    total: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.batch_size = whole("batch_size", self.batch_size, 2)
        if self.samples is not None:
            self.samples = whole("samples", self.samples)
        self._enough = max(LIMITS.samples, LIMITS.a_direction * len(self.action.basis))
        if self.control_samples is not None:
            self._enough = whole("control_samples", self.control_samples, 2)
        self._ahead: Iterator[Batch] | None = None
        self._drawn: Tensor | None = None  # which of the samples, where some were drawn
        if self.groups is not None:
            stored = self.data if isinstance(self.data, (Tensor, Dataset)) else None
            count = len(stored) if isinstance(stored, Sized) else None
            self.groups = _checked_groups(self.groups, count)
        one = isinstance(self.data, (Tensor, str, bytes))
        if self.parts is not None:
            if one or not isinstance(self.data, (Iterable, Dataset)):
                raise TypeError(
                    f"moves={self.parts.moves!r} is for data of several tensors: mappings, tuples, "
                    f"or batches or samples of these; got {type(self.data).__name__}"
                )
        elif isinstance(self.data, Tensor):
            _check_kind(self.data)
            self.action.check(self.data)
            if self.samples is not None and self.samples < len(self.data):
                self._drawn = drawn(len(self.data), self.samples, self.seed)
                self.data = self.data[self._drawn.to(self.data.device)]
            self.total = len(self.data)
            if not self.total:
                raise ValueError("data is empty: at least one sample is needed")
            for start in range(0, self.total, self.batch_size):
                _check_values(self.data[start : start + self.batch_size], start)
        elif isinstance(self.data, Dataset):
            pass
        elif isinstance(self.data, (str, bytes, dict)) or not isinstance(self.data, Iterable):
            raise TypeError(_not_data(self.data))
        elif hasattr(self.data, "__array__"):
            raise TypeError(_not_data(self.data) + "; torch.from_numpy turns an array into one")
        elif isinstance(self.data, tuple) and len(self.data) > 1:
            _check_tuple(self.data)

    def peek(self) -> Batch:
        """The first batch, which comes again as the first; data may be readable but once."""
        batches = iter(self)
        first = next(batches, None)
        if first is None:
            raise ValueError("data is empty: the iterable yielded no samples")
        self._ahead = chain([first], batches)
        return first

    def __iter__(self) -> Iterator[Batch]:
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return ahead
        generator = draws.stream(self.seed, "shuffled pairing")
        if isinstance(self.data, Tensor):
            return self._labelled(self._of_tensor(self.data, generator))
        return self._labelled(self._of_iterable(generator))

    def _labelled(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Batches with what depends on each other in them: groups, or copies of one sample.

        Copies are looked for until so many samples as suffice for a decision all differed.
        """
        if isinstance(self.groups, Tensor):
            for batch in batches:
                yield batch._replace(labels=self.groups[batch.places])
            return
        known: dict[int, int] = {}
        copies = 0
        for batch in batches:
            if len(batch.others) and (copies or len(known) < self._enough):
                before = len(known)
                of = [known.setdefault(each, len(known)) for each in _fingerprints(batch)]
                labels, again = torch.tensor(of, device="cpu"), len(of) - (len(known) - before)
                batch = batch._replace(labels=labels, copies=again)
                copies += again
            yield batch

    def _of_tensor(self, data: Tensor, generator: torch.Generator) -> Iterator[Batch]:
        total = len(data)
        starts = range(0, total, self.batch_size)
        wanted = min(len(starts), math.ceil(self._enough / self.batch_size)) * (total > 1)
        # Whole batches, the first among them, evenly spread; samples swap among all of these.
        taken = [i * wanted % len(starts) < wanted for i in range(len(starts))]
        places = torch.arange(total, device="cpu").split(self.batch_size)
        spans = [span for span, here in zip(places, taken, strict=True) if here]
        own = torch.cat([places[0][:0], *spans])
        pairings = [own[partner] for partner in pairings_of(len(own), generator)]
        for start, here in zip(starts, taken, strict=True):
            inputs, moved = _usable(data[start : start + self.batch_size]), []
            for k, left in enumerate(pairings):
                chosen, pairings[k] = left.tensor_split([len(inputs) if here else 0])
                moved.append(_usable(data.index_select(0, chosen.to(data.device))))
            yield Batch(inputs, start, moved[0], moved[1], self._places(start, len(inputs)))

    def _of_iterable(self, generator: torch.Generator) -> Iterator[Batch]:
        start = 0
        kept: dict[tuple, _Kept] = {}
        for batch in self._batches():
            inputs = batch[0] if isinstance(batch, (tuple, list)) and len(batch) else batch
            samples = batch if isinstance(batch, Samples) else None
            inputs = samples.moved if samples else inputs
            if not isinstance(inputs, Tensor):
                raise TypeError(_not_data(inputs))
            if inputs.ndim and not len(inputs):
                continue
            _check_kind(inputs)
            try:
                self.action.check(inputs)
            except ValueError as error:
                raise ValueError(f"{error}; {ITEMS}") from error
            inputs = _usable(inputs[: self.samples and self.samples - start])
            samples = samples and samples.take(slice(len(inputs)))
            _check_values(inputs, start)
            # Only samples of one kind can swap: images of another size are kept apart.
            kind = (inputs.shape[1:], inputs.dtype, inputs.device, samples and samples.kind)
            partners = kept.setdefault(kind, _Kept(inputs[:0]))
            others, again = partners.others(inputs, generator)
            places = self._places(start, len(inputs), samples)
            yield Batch(inputs, start, others, again, places, samples)
            start += len(inputs)
            if start == self.samples:
                return
        if self.groups is not None and self.samples is None:
            _checked_groups(self.groups, start)

    def _places(self, start: int, count: int, samples: Samples | None = None) -> Int[Tensor, " n"]:
        places = torch.arange(start, start + count, device="cpu")
        places = places if samples is None or samples.places is None else samples.places
        places = places if self._drawn is None else self._drawn[places]
        if self.groups is not None and int(places.max()) >= len(self.groups):
            _checked_groups(self.groups, int(places.max()) + 1, "at least ")
        return places

    def _batches(self) -> Iterable:
        data: Any = self.data
        stored = isinstance(data, Dataset) and not isinstance(data, IterableDataset)
        if stored and self.samples is not None and hasattr(data, "__len__"):
            self._drawn = drawn(len(data), self.samples, self.seed)
            data = Subset(data, self._drawn.tolist())
        if self.parts is not None:
            return batches(data, self.parts, self.action, self.batch_size, self.samples, self.seed)
        if isinstance(data, IterableDataset):
            return self._joined(iter(data))
        if isinstance(data, Dataset):
            return DataLoader(data, self.batch_size, collate_fn=_collated)
        return data

    def _joined(self, items: Iterator) -> Iterable:
        """What an iterable dataset yields, batches as they are and samples in batches."""
        first = next(items, None)
        if first is None:
            return []
        items = chain([first], items)
        inputs = first[0] if isinstance(first, (tuple, list)) and len(first) else first
        if not isinstance(inputs, Tensor):
            return items
        try:
            self.action.check(inputs)
        except ValueError:
            return map(default_collate, iter(lambda: list(islice(items, self.batch_size)), []))
        return items


def _collated(samples: list) -> Any:
    try:
        return default_collate(samples)
    except RuntimeError as error:
        raise ValueError(
            f"samples of the dataset do not make a batch ({error}): where they differ in size, "
            "hand in torch.utils.data.DataLoader(data, batch_size=1)"
        ) from error


class _Kept:
    """A small uniform choice of the samples seen so far, to be partners of later ones."""

    def __init__(self, samples: Tensor):
        self.samples, self.keys = samples, torch.zeros(0, device="cpu")

    def others(self, inputs: Tensor, generator: torch.Generator) -> list[Tensor]:
        """Two others for each of the inputs, which are then among those to keep from."""
        pool = torch.cat([self.samples, inputs])
        # A first and only sample has nobody to meet.
        met = slice(len(self.samples), len(pool) * (len(pool) > 1))
        others = [
            pool.index_select(0, partner[met].to(pool.device))
            for partner in pairings_of(len(pool), generator)
        ]
        # Those with the smallest of random keys, one for each sample that ever came.
        keys = torch.rand(len(inputs), generator=generator, device="cpu")
        self.keys, kept = torch.cat([self.keys, keys]).sort()
        self.keys = self.keys[: LIMITS.kept]
        self.samples = pool.index_select(0, kept[: LIMITS.kept].to(pool.device))
        return others


def _fingerprints(batch: Batch) -> list[int]:
    """A number for each sample, of all that a network is called with.

    Where that is no tensors, every sample is taken to differ.
    """
    count, tensors = len(batch.inputs), [batch.inputs]
    if batch.samples:
        for value in parts_of(batch.samples.held).values():
            if not isinstance(value, Tensor):
                return (-1 - batch.places).tolist()
            if value.ndim and len(value) == count:
                tensors.append(value)
    flat = [t.detach().cpu().reshape(count, -1).contiguous().view(torch.uint8) for t in tensors]
    return [hash(row.tobytes()) for row in torch.cat(flat, 1).numpy()]


def _usable(inputs: Tensor) -> Tensor:
    """The samples as a tensor that autograd takes, which those of inference mode are not."""
    return inputs.clone() if inputs.is_inference() else inputs


def _not_data(found: object) -> str:
    return (
        "data must be a torch tensor (N, ...) or an iterable of such batches (tensors, or tuples "
        f"that begin with one); got {described(found)}. Of several inputs "
        "learned_symmetries(..., moves=...) says by name or place which moves"
    )


def _check_tuple(data: tuple) -> None:
    """Refuse a tuple that may be batches of samples, or samples with what belongs to them."""
    lengths = {len(part) if isinstance(part, Tensor) and part.ndim else None for part in data}
    if len(lengths) == 1 and None not in lengths and not _of_one(data):
        raise ValueError(
            f"data are a tuple of {len(data)} tensors of equal length, which may be batches, or "
            "samples with their targets: hand in a list of batches, list(data), or the samples "
            "alone, data[0]; of several inputs of a network moves=0 says which moves"
        )


def _of_one(parts: Sequence[Tensor]) -> bool:
    """Whether tensors are what one tensor was split into: they lie in it one after another."""
    first, alike = parts[0], {(part.shape, part.stride(), part.dtype) for part in parts}
    place = [part.storage_offset() for part in parts]
    behind = [offset + len(first) * first.stride(0) for offset in place]
    storages = {part.untyped_storage().data_ptr() for part in parts}
    return len(alike) == len(storages) == 1 and place[1:] == behind[:-1]


def labels_of(groups: Groups) -> Int[Tensor, " n"]:
    """Labels as numbers: names are numbered."""
    try:
        return torch.as_tensor(groups).cpu()
    except (TypeError, ValueError):
        numbers: dict[object, int] = {}
        of = [numbers.setdefault(each, len(numbers)) for each in groups]
        return torch.tensor(of, device="cpu")


def _checked_groups(groups: Groups, count: int | None, least: str = "") -> Int[Tensor, " n"]:
    """A label for each sample; refused are others, and groups scattered over the data."""
    labels = labels_of(groups)
    if labels.ndim != 1 or count not in (None, len(labels)):
        there = "" if count is None else f", {least}({count},)"
        raise ValueError(
            f"groups must say of every sample where it belongs{there}; got {tuple(labels.shape)}"
        )
    if len(labels.unique_consecutive()) != len(labels.unique()):
        raise ValueError(
            "samples of one group must stand one after another: sort the data by their groups"
        )
    return labels


def _check_kind(inputs: Tensor) -> None:
    if inputs.layout != torch.strided:
        raise TypeError(f"data must be a dense tensor, got {inputs.layout}; use data.to_dense()")
    if not inputs.is_floating_point():
        raise TypeError(
            f"data must be floating point (derivatives are taken), got {inputs.dtype}; "
            "use data.float(), scaled as the network expects"
        )


def _check_values(inputs: Tensor, start: int) -> None:
    if torch.isfinite(inputs.detach().sum()):  # one pass; a sum that overflows is looked into
        return
    finite = torch.isfinite(inputs).flatten(1).all(1)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise ValueError(
            f"data must be finite: sample {start + first} holds NaN or infinity "
            f"(and {int((~finite).sum()) - 1} more in its batch)"
        )


def pairings_of(
    count: int, generator: torch.Generator
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Two random pairings in which nobody meets itself, or the same one twice.

    One step along a random cycle, and two. Two samples have but one pairing, which is both.
    """
    cycle = torch.randperm(count, generator=generator, device="cpu")
    partner = torch.empty_like(cycle)
    partner[cycle] = cycle.roll(1)
    return partner, partner[partner] if count > 2 else partner
