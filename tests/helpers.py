"""What many tests need: random numbers by seed, and small splits."""

from collections.abc import Callable

import torch
from torch import Tensor

from symscope.data import Split, Splits


def seeded_stream(seed: int = 0) -> torch.Generator:
    """A generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers that leave torch's global stream alone."""
    return torch.randn(*shape, generator=seeded_stream(seed), dtype=dtype)


def labels(inputs: Tensor) -> Tensor:
    """Three classes, by the signs of the first two numbers."""
    return (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()


def splits(targets: Callable[[Tensor], Tensor] = labels, size: int = 40) -> Splits:
    """Splits of (size, 6) random inputs."""
    parts = [random(size, 6, seed=seed) for seed in range(3)]
    return Splits("small", *(Split(inputs, targets(inputs)) for inputs in parts))
