"""A data set in three parts, and the streams of random numbers that it is drawn by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .._checks import whole


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


def stream(seed: int, purpose: str) -> torch.Generator:
    """A stream of random numbers of its own for each seed and purpose.

    Hashed, and never the seed itself: else a network initialised under `torch.manual_seed(seed)`
    would share its numbers with the data.
    """
    import numpy as np

    entropy = [whole("seed", seed, 0), *purpose.encode()]
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def fits(name: str, asked: int, held: int, source: str) -> None:
    """Raise ValueError if more samples are asked for than a source holds."""
    if asked > held:
        raise ValueError(f"{name} must be at most {held:,} for source={source!r}, got {asked:,}")
