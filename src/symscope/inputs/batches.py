"""Data of more than one tensor, in whatever form they come, as batches of equal samples."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from ..actions.linear import Action
from .samples import INDEX, Graphs, Moves, Samples, Whole, is_long, named, parts_of


def batches(data: Any, moves: Moves, action: Action, size: int) -> Iterator[Samples]:
    """The user's data as batches of samples that can be paired with each other.

    A mapping or a tuple is all the data; what else can be iterated yields batches or samples,
    whichever the action takes. Samples wait for others of their shape; a batch in which
    masks differ is taken apart.
    """
    if callable(moves):
        for item in _items(data):
            yield Whole(moves(item), None)
        return
    if isinstance(data, (Mapping, tuple)):
        everything = Samples(data, moves)
        for start in range(0, len(everything.moved), size):
            yield from _by_mask(everything.take(slice(start, start + size)))
        return
    waiting: dict[Hashable, list] = {}
    for item in _items(data):
        samples = _taken_apart(item, moves, action)
        if samples is None:
            yield from _by_mask(Samples(item, moves))
            continue
        # Whoever hands in batches knows how large they may be.
        most = size if len(samples) == 1 else min(size, len(samples))
        for kind, sample in samples:
            waiting.setdefault(kind, []).append(sample)
            if len(waiting[kind]) >= most:
                yield from _together(waiting.pop(kind), kind, moves)
    for kind in sorted(waiting, key=lambda kind: -len(waiting[kind])):
        yield from _together(waiting[kind], kind, moves)


def _items(data: Any) -> Iterable:
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return DataLoader(data, batch_size=None)
    return data


def _taken_apart(item: Any, moves: Any, action: Action) -> list[tuple[Hashable, Any]] | None:
    """Samples, each under what those to be joined share; None for a batch that stays as it is."""
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
            return list(_by_index(dict(item), moved, index))
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


def _by_index(item: dict, moved: Tensor, index: Tensor) -> Iterator[tuple[Hashable, Any]]:
    """The samples of points that stand one after another, whose each is the index says."""
    del item[INDEX]
    places = range(int(index.max()) + 1 if len(index) else 0)
    flat = frozenset(name for name, value in item.items() if is_long(value, len(moved)))
    for name, value in item.items():
        if isinstance(value, Tensor) and name not in flat and not is_long(value, len(places)):
            raise ValueError(
                f"beside {INDEX!r} each tensor must have an entry a point ({len(moved)}) or a "
                f"sample ({len(places)}); {name!r} is {tuple(value.shape)}. Edges are joined by "
                "torch_geometric's own batches: hand in these"
            )
    for place in places:
        own = index == place
        sample = {}
        for name, value in item.items():
            each = own if name in flat else place
            sample[name] = value[each] if isinstance(value, Tensor) else value
        yield (moved[own].shape, flat), sample


def _together(samples: list, kind: Any, moves: Any) -> Iterator[Samples]:
    """Samples of one shape, joined."""
    _, how = kind
    if how is not None and not isinstance(how, frozenset):
        yield Graphs(samples, moves, joiner=how)
        return
    try:
        held = default_collate(samples)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"samples with {moves!r} of one shape {tuple(kind[0])} do not stack in all else "
            f"({str(error).splitlines()[0]}): hand in batches, or a callable moves"
        ) from error
    yield from _by_mask(Samples(held, moves, how or frozenset()))


def _by_mask(samples: Samples) -> Iterator[Samples]:
    """The samples by their masks, since points that are not there pair with none that are."""
    shape = samples.moved.shape[:2]
    masks = [
        value
        for name, value in parts_of(samples.held).items()
        if isinstance(value, Tensor)
        and value.shape[:2] == shape
        and len(shape) == 2
        and (value.dtype == torch.bool or "mask" in str(name))
    ]
    if not masks or not len(samples.moved):
        yield samples
        return
    rows = torch.cat([mask.flatten(1).double() for mask in masks], 1)
    kinds, which = torch.unique(rows, dim=0, return_inverse=True)
    for kind in torch.bincount(which).argsort(descending=True).tolist():
        part = samples.take((which == kind).nonzero()[:, 0])
        yield Samples(part.held, part.moves, part.flat, tuple(kinds[kind].tolist()))
