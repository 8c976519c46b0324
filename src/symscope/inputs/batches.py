"""Data of more than one tensor, in whatever form they come, as batches of equal samples."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from .. import _draws as draws
from ..actions.vectors import Action
from .samples import (
    INDEX,
    Graphs,
    Parts,
    Samples,
    Whole,
    cut,
    length_of,
    named,
    parts_of,
    with_parts,
)


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
        count = length_of(data, parts) if callable(moves) else len(Samples(data, parts).moved)
        places = drawn(count, samples, seed)
        for some in places.split(size):
            held = cut(data, parts, some)
            if callable(moves):
                yield Whole(moves(held), parts)
            else:
                yield from _by_mask(Samples(held, parts))
        return
    if callable(moves):
        for item in _items(data):
            yield Whole(moves(item), parts)
        return
    waiting: dict[Hashable, list] = {}
    for item in _items(data):
        apart = _taken_apart(item, parts, action)
        if apart is None:
            yield from _by_mask(Samples(item, parts))
            continue
        # Whoever hands in batches knows how large they may be.
        most = size if len(apart) == 1 else min(size, len(apart))
        for kind, sample in apart:
            waiting.setdefault(kind, []).append(sample)
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


def _items(data: Any) -> Iterable:
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return DataLoader(data, batch_size=None)
    return data


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


def _together(samples: list, kind: Any, parts: Parts) -> Iterator[Samples]:
    """Samples of one shape, joined."""
    _, how = kind
    if how is not None and not isinstance(how, frozenset):
        yield Graphs(samples, parts, joiner=how)
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
    yield from _by_mask(Samples(with_parts(held, shared), parts, how or frozenset()))


def _by_mask(samples: Samples) -> Iterator[Samples]:
    """The samples by their masks, since points that are not there pair with none that are."""
    masks = samples.masks()
    if not masks or not len(samples.moved):
        yield samples
        return
    rows = torch.cat([mask.flatten(1).double() for mask in masks], 1)
    kinds, which = torch.unique(rows, dim=0, return_inverse=True)
    for kind in torch.bincount(which).argsort(descending=True).tolist():
        part = samples.take((which == kind).nonzero()[:, 0])
        yield replace(part, kind=tuple(kinds[kind].tolist()))
