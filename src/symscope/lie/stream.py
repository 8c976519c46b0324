"""The user's data as checked batches, each beside the inputs that its control is paired with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .._checks import whole
from .actions import Action

if TYPE_CHECKING:
    from jaxtyping import Int


# Samples that suffice for the shuffled control of a tensor, and how many a direction needs. With
# 32 rows a direction its smallest variance comes out some third too small, no more.
CONTROL_SAMPLES, CONTROL_SAMPLES_A_DIRECTION = 2048, 32


class Batch(NamedTuple):
    """Samples, the place of the first in the user's data, and other samples for the control.

    The control pairs the derivatives of the samples with ``others``, if there are any.
    """

    inputs: Tensor
    start: int
    others: Tensor


@dataclass
class Stream:
    """The user's data, batch by batch; a tensor is checked whole at once.

    In a tensor of many batches, some of them, evenly spread, have others, which are those batches'
    own samples in another order. In an iterable each batch's samples swap among themselves.

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
        self.batch_size = whole("batch_size", self.batch_size, 2)
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
        generator = torch.Generator().manual_seed(self.seed)
        if isinstance(self.data, Tensor):
            enough = max(CONTROL_SAMPLES, CONTROL_SAMPLES_A_DIRECTION * len(self.action.basis))
            total = len(self.data)
            starts = range(0, total, self.batch_size)
            wanted = min(len(starts), math.ceil(enough / self.batch_size)) * (total > 1)
            # Whole batches, the first among them, evenly spread; samples swap among all of these.
            taken = [i * wanted % len(starts) < wanted for i in range(len(starts))]
            spans = [
                torch.arange(start, min(start + self.batch_size, total))
                for start, here in zip(starts, taken, strict=True)
                if here
            ]
            own = torch.cat([torch.arange(0), *spans])
            others = own[derangement(len(own), generator)]
            for start, here in zip(starts, taken, strict=True):
                inputs = self.data[start : start + self.batch_size]
                chosen, others = others.tensor_split([len(inputs) if here else 0])
                yield Batch(inputs, start, self.data.index_select(0, chosen.to(self.data.device)))
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
            chosen = derangement(len(inputs), generator)[: len(inputs) if len(inputs) > 1 else 0]
            yield Batch(inputs, start, inputs.index_select(0, chosen.to(inputs.device)))
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
    if torch.isfinite(inputs.detach().sum()):  # one pass; a sum that overflows is looked into
        return
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
