"""The user's data as checked batches, in an order that makes shuffling within a batch fair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .actions import Action

if TYPE_CHECKING:
    from jaxtyping import Int


class Batch(NamedTuple):
    """Samples on the network's device, and their places in the user's data."""

    inputs: Tensor
    places: Int[Tensor, " n"]


@dataclass
class Stream:
    """The user's data, batch by batch; a tensor is checked whole at once, and cut at random.

    Raises:
        ValueError: for data that are empty, not finite or do not fit the action, or a batch
            size below 2.
        TypeError: for data that are no tensors, or not floating point.
    """

    data: Tensor | Iterable
    action: Action
    batch_size: int
    seed: int
    total: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 2:
            raise ValueError(
                f"batch_size must be an integer of at least 2, got {self.batch_size!r}"
            )
        if isinstance(self.data, Tensor):
            self.action.check(self.data)
            self.total = len(self.data)
            if not self.total:
                raise ValueError("data is empty: at least one sample is needed")
            for start in range(0, self.total, self.batch_size):
                _check_values(self.data[start : start + self.batch_size], start)
        elif isinstance(self.data, (str, bytes, dict)) or not isinstance(self.data, Iterable):
            raise TypeError(_not_data(self.data))
        elif hasattr(self.data, "__array__"):
            raise TypeError(_not_data(self.data) + "; torch.from_numpy turns an array into one")

    def __iter__(self) -> Iterator[Batch]:
        if isinstance(self.data, Tensor):
            generator = torch.Generator().manual_seed(self.seed)
            order = torch.randperm(self.total, generator=generator)
            for places in order.split(self.batch_size):
                yield Batch(self.data[places.to(self.data.device)], places)
            return
        start = 0
        for batch in self.data:
            inputs = batch[0] if isinstance(batch, (tuple, list)) and len(batch) else batch
            if not isinstance(inputs, Tensor):
                raise TypeError(_not_data(inputs))
            if inputs.ndim and not len(inputs):
                continue
            self.action.check(inputs)
            _check_values(inputs, start)
            yield Batch(inputs, torch.arange(start, start + len(inputs)))
            start += len(inputs)


def _not_data(found: object) -> str:
    return (
        "data must be a torch tensor (N, ...) or an iterable of such batches (tensors, or tuples "
        f"that begin with one); got {type(found).__name__}"
    )


def _check_values(inputs: Tensor, start: int) -> None:
    if not inputs.is_floating_point():
        raise TypeError(
            f"data must be floating point (derivatives are taken), got {inputs.dtype}; "
            "use data.float(), scaled as the network expects"
        )
    finite = torch.isfinite(inputs).flatten(1).all(1)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise ValueError(
            f"data must be finite: sample {start + first} holds NaN or infinity "
            f"(and {int((~finite).sum()) - 1} more in its batch)"
        )


def derangement(count: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """A random pairing in which nobody meets itself: one step along a random cycle."""
    cycle = torch.randperm(count, generator=generator)
    partner = torch.empty_like(cycle)
    partner[cycle] = cycle.roll(1)
    return partner
