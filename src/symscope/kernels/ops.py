"""Dispatch: which implementation of a kernel serves a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import reference

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

BACKENDS = ("auto", "reference", "triton")


def resolve(backend: str) -> str:
    """The implementation that ``backend`` stands for on this installation.

    Raises:
        ValueError: if ``backend`` is not one of BACKENDS.
        NotImplementedError: for "triton", which this version does not have; it never falls
            back silently.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}; got {backend!r}")
    if backend == "triton":
        raise NotImplementedError(
            "backend='triton' was asked for, but this version has no Triton kernels; "
            "use backend='auto' or 'reference'"
        )
    return "reference"


plane_rows = reference.plane_rows
linear_rows = reference.linear_rows


def orbits(
    filters: Float[Tensor, "j k d"],
    generators: Float[Tensor, "j d d"],
    order: int,
    backend: str = "auto",
) -> Float[Tensor, "j k n d"]:
    """As :func:`reference.orbits`, by the implementation that ``backend`` names."""
    resolve(backend)
    return reference.orbits(filters, generators, order)


def proximal_step(
    point: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    previous: Float[Tensor, "*shape"],
    step: float | Tensor,
    threshold: float | Tensor,
    momentum: float,
    two_sided: bool,
    backend: str = "auto",
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """As :func:`reference.proximal_step`, by the implementation that ``backend`` names."""
    resolve(backend)
    return reference.proximal_step(point, gradient, previous, step, threshold, momentum, two_sided)
