"""The elementwise part of an unfolded layer: gradient step, soft threshold and momentum in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

# Codes that one program moves.
ELEMENTS = 1024


@triton.jit
def _proximal_step(
    point, gradient, previous, codes, following,
    step, threshold, momentum, SIZE,
    LOAD_STEP: tl.constexpr, LOAD_THRESHOLD: tl.constexpr,
    TWO_SIDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < SIZE
    if LOAD_STEP:  # numbers that stay on the device need not be waited for
        step = tl.load(step)
    if LOAD_THRESHOLD:
        threshold = tl.load(threshold)
    moved = tl.load(point + place, mask=inside) - step * tl.load(gradient + place, mask=inside)
    code = tl.maximum(moved - threshold, 0.0, propagate_nan=tl.PropagateNan.ALL)
    if TWO_SIDED:
        code -= tl.maximum(-moved - threshold, 0.0, propagate_nan=tl.PropagateNan.ALL)
    before = tl.load(previous + place, mask=inside)
    tl.store(codes + place, code, mask=inside)
    tl.store(following + place, code + momentum * (code - before), mask=inside)


@triton.jit
def _proximal_adjoint(
    by_codes, by_next, codes, by_point, by_gradient, by_previous,
    step, momentum, SIZE, LOAD_STEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < SIZE
    if LOAD_STEP:
        step = tl.load(step)
    following = tl.load(by_next + place, mask=inside)
    total = tl.load(by_codes + place, mask=inside) + (1 + momentum) * following
    total = tl.where(tl.load(codes + place, mask=inside) != 0.0, total, 0.0)
    tl.store(by_point + place, total, mask=inside)
    tl.store(by_gradient + place, -step * total, mask=inside)
    tl.store(by_previous + place, -momentum * following, mask=inside)


def proximal_step(
    point: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    previous: Float[Tensor, "*shape"],
    step: Tensor | float,
    threshold: Tensor | float,
    momentum: float,
    two_sided: bool,
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """The elementwise part of a layer in one launch: three reads and two writes a code."""
    point, gradient, previous = (t.contiguous() for t in (point, gradient, previous))
    codes, following = torch.empty_like(point), torch.empty_like(point)
    if point.numel():
        _proximal_step[(triton.cdiv(point.numel(), ELEMENTS),)](
            point, gradient, previous, codes, following, step, threshold, momentum,
            point.numel(), LOAD_STEP=isinstance(step, Tensor),
            LOAD_THRESHOLD=isinstance(threshold, Tensor), TWO_SIDED=two_sided, BLOCK=ELEMENTS,
        )  # fmt: skip
    return codes, following


def proximal_adjoint(
    by_codes: Float[Tensor, "*shape"],
    by_next: Float[Tensor, "*shape"],
    codes: Float[Tensor, "*shape"],
    step: Tensor | float,
    momentum: float,
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """All gradients in one launch: three reads and three writes a code."""
    by_codes, by_next, codes = (t.contiguous() for t in (by_codes, by_next, codes))
    grads = [torch.empty_like(codes) for _ in range(3)]
    if codes.numel():
        _proximal_adjoint[(triton.cdiv(codes.numel(), ELEMENTS),)](
            by_codes,
            by_next,
            codes,
            *grads,
            step,
            momentum,
            codes.numel(),
            LOAD_STEP=isinstance(step, Tensor),
            BLOCK=ELEMENTS,
        )
    return grads[0], grads[1], grads[2]
