"""The Gram matrix of a linear action: rows formed in registers and multiplied on the fly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

# Rows that one program sums in float32, and its tile of directions.
SPLIT, TILE = 2048, 128
# Rows of one product: fewer without tensor cores, so that the operands fit the registers.
DEPTH = {"ieee": 16, "tf32x3": 32, "tf32": 32}


@triton.jit
def _linear_tile(
    vectors, cotangents, row, direction, C, M, D, ROWS,
):  # fmt: skip
    """Rows ``sum_j g_j x_j^T`` at some directions, formed in registers: (rows, directions)."""
    inside = (row < ROWS)[:, None] & (direction < D * D)[None, :]
    of_g, of_x = direction // D, direction % D
    sample = row // C
    tile = tl.zeros([row.shape[0], direction.shape[0]], dtype=tl.float32)
    for m in range(M):
        g = tl.load(cotangents + (row[:, None] * M + m) * D + of_g[None, :], mask=inside, other=0.0)
        x = tl.load(vectors + (sample[:, None] * M + m) * D + of_x[None, :], mask=inside, other=0.0)
        tile += g * x
    return tile


@triton.jit
def _linear_gram(
    vectors, cotangents, gram,
    C, M, D, ROWS,
    SPLIT: tl.constexpr, TILE: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program: one tile of the upper triangle, over SPLIT rows."""
    first, second = tl.program_id(0), tl.program_id(1)
    if first <= second:
        split = tl.program_id(2).to(tl.int64)
        left = first * TILE + tl.arange(0, TILE)
        right = second * TILE + tl.arange(0, TILE)
        total = tl.zeros([TILE, TILE], dtype=tl.float32)
        for start in range(split * SPLIT, tl.minimum(ROWS, (split + 1) * SPLIT), DEPTH):
            row = start + tl.arange(0, DEPTH)
            a = _linear_tile(vectors, cotangents, row, left, C, M, D, ROWS)
            b = _linear_tile(vectors, cotangents, row, right, C, M, D, ROWS)
            total = tl.dot(tl.trans(a), b, total, input_precision=PRECISION)
        inside = (left < D * D)[:, None] & (right < D * D)[None, :]
        place = left[:, None] * (D * D) + right[None, :]
        tl.atomic_add(gram + place, total.to(tl.float64), mask=inside)


def linear_gram(
    vectors: Float[Tensor, "n m d"], cotangents: Float[Tensor, "n c m d"], precision: str = "ieee"
) -> Float[Tensor, "d*d d*d"]:
    """The Gram matrix of the rows in one launch; the N x d^2 matrix never exists.

    Args:
        vectors: float32.
        cotangents: float32.
        precision: of the products: "ieee" (default; float32 as everywhere), "tf32x3" (tensor
            cores, nearly float32) or "tf32" (tensor cores, 10 bits of mantissa).

    Returns:
        float64: sums over blocks of 2,048 rows in float32, added up in float64. The order of that
        last addition is not fixed: repeated calls agree to rounding in float64.
    """
    n, outputs, copies, d = cotangents.shape
    gram = vectors.new_zeros(d * d, d * d, dtype=torch.float64)
    if not cotangents.numel():
        return gram
    tiles = triton.cdiv(d * d, TILE)
    _linear_gram[(tiles, tiles, triton.cdiv(n * outputs, SPLIT))](
        vectors.contiguous(),
        cotangents.contiguous(),
        gram,
        outputs,
        copies,
        d,
        n * outputs,
        SPLIT=SPLIT,
        TILE=TILE,
        DEPTH=DEPTH[precision],
        PRECISION=precision,
        num_warps=8,
        num_stages=2,
    )
    upper = gram.triu()
    return upper + upper.triu(1).T
