"""What many tests need: random numbers by seed, small splits and files, another Python."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import studies
import symscope
from studies.data import Split, Splits


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


def equal(a: Split, b: Split) -> bool:
    """Whether two splits are the same to the last bit."""
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


def idx(values: np.ndarray) -> bytes:
    """Values as a file in IDX format, which MNIST comes in."""
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return header + values.astype(np.uint8).tobytes()


def run_python(code: str, *arguments: str) -> subprocess.Popen:
    """A second Python that imports these same packages."""
    environment = {k: v for k, v in os.environ.items() if k != "SYMSCOPE_DATA"}
    places = [str(Path(each.__file__).parents[1]) for each in (symscope, studies)]
    environment["PYTHONPATH"] = os.pathsep.join(places)
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
