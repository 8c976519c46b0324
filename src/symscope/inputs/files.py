"""Tensors in files of numpy, safetensors and torch; nothing is unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

# Relative paths hold in the repository and in its notebooks/, whichever is the working directory.
PLACES = (Path(), Path(".."), Path("notebooks"))
OF_TORCH = (".pt", ".pth", ".ckpt")
TENSORS = (".npy", ".npz", ".safetensors", *OF_TORCH)


def find(path: str | Path) -> Path:
    """The file of a relative path, from the working directory or the repository."""
    places = dict.fromkeys(place / path for place in PLACES)
    for place in places:
        if place.is_file():
            return place
    looked = ", ".join(map(str, places))
    raise FileNotFoundError(f"there is no file {path}: looked for {looked}")


def load_tensors(path: str | Path) -> Any:
    """The tensor of a file, or a dictionary of its tensors: one of :data:`TENSORS`.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: for another kind of file, or one that holds more than tensors.
    """
    if Path(path).suffix not in TENSORS:
        raise ValueError(f"a file of tensors must be {', '.join(TENSORS)}; got {path}")
    path = find(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return _alone(load_file(path))
    try:
        if path.suffix in OF_TORCH:
            return torch.load(path, weights_only=True, map_location="cpu")
        import numpy as np

        held = np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            return _alone({name: torch.from_numpy(held[name]) for name in held})
        return torch.from_numpy(held)
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path} holds more than tensors, and nothing is unpickled: save tensors, or a "
            "dictionary of tensors, as .safetensors"
        ) from error


def _alone(held: dict[str, torch.Tensor]) -> Any:
    return next(iter(held.values())) if len(held) == 1 else held
