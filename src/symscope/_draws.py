"""Random numbers: a stream for each seed and purpose, and torch's own state set for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def seeded_state(seed: int) -> Iterator[None]:
    """Torch's random state set from a seed inside, and put back after; on every GPU, too."""
    # torch.manual_seed sets the state of all GPUs, whichever are in use.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
