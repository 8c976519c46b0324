"""Vectors with a known symmetry: the O(5)-invariant regression of EMLP and LieGG.

Sources: EMLP (Finzi, Welling, Wilson 2021); LieGG (`moskalev2022liegg`) and its public notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from symscope._checks import whole
from symscope._draws import stream

from .splits import Split, Splits

if TYPE_CHECKING:
    from jaxtyping import Float


def o5_regression(
    *,
    train: int = 10_000,
    validation: int = 2_000,
    test: int = 5_000,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """The O(5)-invariant task of EMLP and LieGG: inputs (N, 10) = (x1, x2), targets (N, 1).

    x1, x2 are standard normal in R^5, with lengths r1 and r2, and the function is
    f = sin r1 - r2^3 / 2 + x1.x2 / (r1 r2). Inputs are divided by one scalar, the training
    inputs' std, and outputs standardised by the training mean and std: neither breaks the symmetry.

    Args:
        dtype: floating type of the tensors; they are computed in float64 and then rounded.

    >>> splits = o5_regression(train=100, validation=10, test=10)
    >>> splits.train.inputs.shape, splits.train.targets.shape
    (torch.Size([100, 10]), torch.Size([100, 1]))
    """
    whole("train", train, 2)  # one value has no standard deviation
    whole("validation", validation)
    whole("test", test)
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating type, got {dtype}")
    draw = stream(seed, "o5")
    x_test, x_validation, x_train = (
        torch.randn(size, 10, generator=draw, dtype=torch.float64)
        for size in (test, validation, train)
    )
    input_std = x_train.std(correction=0).item()
    y_train = o5_function(x_train)
    mean, std = y_train.mean().item(), y_train.std(correction=0).item()

    def scaled(x: Float[Tensor, "n 10"]) -> Split:
        return Split((x / input_std).to(dtype), ((o5_function(x) - mean) / std).to(dtype))

    return Splits(
        "O(5) regression",
        scaled(x_train),
        scaled(x_validation),
        scaled(x_test),
        input_std=input_std,
        target_mean=mean,
        target_std=std,
    )


def o5_function(x: Float[Tensor, "n 10"]) -> Float[Tensor, "n 1"]:
    """The target of :func:`o5_regression` on unscaled inputs, in its own units."""
    x1, x2 = x[:, :5], x[:, 5:]
    r1, r2 = x1.norm(dim=1, keepdim=True), x2.norm(dim=1, keepdim=True)
    return r1.sin() - r2**3 / 2 + (x1 * x2).sum(1, keepdim=True) / (r1 * r2)
