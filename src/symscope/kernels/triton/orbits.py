"""Orbits of filters under a generator, forward and backward in one launch each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

# Filters of a set that one program moves at a time.
FILTERS = 16


@triton.jit
def _orbits(
    filters, generators, elements,
    K, D,
    ORDER: tl.constexpr, FILTERS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One program: up to FILTERS filters of one set, moved ORDER - 1 times."""
    group = tl.program_id(0).to(tl.int64)
    filter = tl.program_id(1) * FILTERS + tl.arange(0, FILTERS)
    place = tl.arange(0, WIDTH)
    square = (place < D)[:, None] & (place < D)[None, :]
    inside = (filter < K)[:, None] & (place < D)[None, :]
    turned = tl.load(
        generators + group * D * D + place[None, :] * D + place[:, None], mask=square, other=0.0
    )
    start = group * K + filter[:, None]
    element = tl.load(filters + start * D + place[None, :], mask=inside, other=0.0)
    for i in range(ORDER):
        tl.store(elements + (start * ORDER + i) * D + place[None, :], element, mask=inside)
        element = tl.dot(element, turned, input_precision="ieee")


@triton.jit
def _orbits_adjoint(
    cotangents, generators, elements, by_filter, by_generator,
    K, D,
    ORDER: tl.constexpr, FILTERS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One program: one set; lambda_i = cotangent_i + A^T lambda_(i+1), from the last i down."""
    group = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, WIDTH)
    square = (place < D)[:, None] & (place < D)[None, :]
    corner = group * D * D + place[:, None] * D + place[None, :]
    generator = tl.load(generators + corner, mask=square, other=0.0)
    total = tl.zeros([WIDTH, WIDTH], dtype=tl.float32)
    for first in range(0, K, FILTERS):
        filter = first + tl.arange(0, FILTERS)
        inside = (filter < K)[:, None] & (place < D)[None, :]
        start = group * K + filter[:, None]
        carried = tl.zeros([FILTERS, WIDTH], dtype=tl.float32)
        for back in range(ORDER):
            i = ORDER - 1 - back
            at = (start * ORDER + i) * D + place[None, :]
            element = tl.load(elements + at, mask=inside, other=0.0)
            total = tl.dot(tl.trans(carried), element, total, input_precision="ieee")
            carried = tl.dot(carried, generator, input_precision="ieee")
            carried += tl.load(cotangents + at, mask=inside, other=0.0)
        tl.store(by_filter + start * D + place[None, :], carried, mask=inside)
    tl.store(by_generator + corner, total, mask=square)


def orbits(
    filters: Float[Tensor, "j k d"], generators: Float[Tensor, "j d d"], order: int
) -> Float[Tensor, "j k n d"]:
    """All orbits in one launch; d up to 64."""
    sets, count, d = filters.shape
    elements = filters.new_empty(sets, count, order, d)
    if elements.numel():
        _orbits[(sets, triton.cdiv(count, FILTERS))](
            filters.contiguous(),
            generators.contiguous(),
            elements,
            count,
            d,
            ORDER=order,
            FILTERS=FILTERS,
            WIDTH=max(16, triton.next_power_of_2(d)),
        )
    return elements


def orbits_adjoint(
    cotangents: Float[Tensor, "j k n d"],
    generators: Float[Tensor, "j d d"],
    elements: Float[Tensor, "j k n d"],
) -> tuple[Float[Tensor, "j k d"], Float[Tensor, "j d d"]]:
    """Both gradients in one launch."""
    sets, count, order, d = elements.shape
    by_filter = elements.new_zeros(sets, count, d)
    by_generator = elements.new_zeros(sets, d, d)
    if elements.numel():
        _orbits_adjoint[(sets,)](
            cotangents.contiguous(),
            generators.contiguous(),
            elements.contiguous(),
            by_filter,
            by_generator,
            count,
            d,
            ORDER=order,
            FILTERS=FILTERS,
            WIDTH=max(16, triton.next_power_of_2(d)),
            num_warps=8 if d > 32 else 4,
        )
    return by_filter, by_generator
