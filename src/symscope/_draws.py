"""Streams of random numbers, one for each seed and purpose."""

from __future__ import annotations

import torch

from ._checks import whole


def stream(seed: int, purpose: str) -> torch.Generator:
    """A stream of random numbers of its own for each seed and purpose.

    Hashed, and never the seed itself: else a network initialised under `torch.manual_seed(seed)`
    would share its numbers with the data.
    """
    import numpy as np

    entropy = [whole("seed", seed, 0), *purpose.encode()]
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
