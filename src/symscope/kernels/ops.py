"""Dispatch: which implementation of a kernel serves a call."""

from __future__ import annotations

from . import reference

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
