"""A data set in three parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Split(NamedTuple):
    """One part of a data set, in memory.

    inputs: images (N, 28, 28) float32, first row on top; or vectors (N, 10).
    targets: labels (N,) int64; or values (N, 1).
    """

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set, and the numbers that undo its scaling.

    raw inputs = inputs * input_std + input_mean; raw targets = targets * target_std + target_mean.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    input_mean: float = 0.0
    input_std: float = 1.0
    target_mean: float = 0.0
    target_std: float = 1.0


def fits(name: str, asked: int, held: int, source: str) -> None:
    """Raise ValueError if more samples are asked for than a source holds."""
    if asked > held:
        raise ValueError(f"{name} must be at most {held:,} for source={source!r}, got {asked:,}")


def rows_of_splits(
    count: int, first_test: int, sizes: tuple[int, int, int], draw: torch.Generator, source: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows for train, validation and test of a set whose test samples come last.

    Test is drawn first, then validation, so a larger training split leaves them as they are.
    """
    train, validation, test = sizes
    fits("test", test, count - first_test, source)
    fits("train + validation", train + validation, first_test, source)
    tests = torch.randperm(count - first_test, generator=draw)[:test] + first_test
    rest = torch.randperm(first_test, generator=draw)
    return rest[validation:][:train], rest[:validation], tests
