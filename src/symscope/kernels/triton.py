"""The kernels for GPUs, in Triton; each computes what its namesake in `reference` defines.

All take float32. With TRITON_INTERPRET=1 in the environment before Triton is imported, they run
on a CPU, slowly, for tests.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .reference import Plane

# --- The Gram matrix of a linear action: rows formed in registers and multiplied on the fly ------

# Rows that one program sums in float32, and its tile of directions.
SPLIT, GRAM_TILE = 2048, 128
# Rows of one product, so few that the operands fit the registers.
DEPTH = 16


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
    SPLIT: tl.constexpr, TILE: tl.constexpr, DEPTH: tl.constexpr,
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
            total = tl.dot(tl.trans(a), b, total, input_precision="ieee")
        inside = (left < D * D)[:, None] & (right < D * D)[None, :]
        place = left[:, None] * (D * D) + right[None, :]
        tl.atomic_add(gram + place, total.to(tl.float64), mask=inside)


def linear_gram(vectors: Tensor, cotangents: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The Gram matrix of the rows in one launch; the N x d^2 matrix never exists.

    Blocks of 2,048 rows are summed in float32 (``dtype`` can be no other), and these in float64.
    The order of that last addition is not fixed: repeated calls agree to rounding in float64.
    """
    n, outputs, copies, d = cotangents.shape
    gram = vectors.new_zeros(d * d, d * d, dtype=torch.float64)
    if not cotangents.numel():
        return gram
    tiles = triton.cdiv(d * d, GRAM_TILE)
    _linear_gram[(tiles, tiles, triton.cdiv(n * outputs, SPLIT))](
        vectors.contiguous(), cotangents.contiguous(), gram, outputs, copies, d, n * outputs,
        SPLIT=SPLIT, TILE=GRAM_TILE, DEPTH=DEPTH, num_warps=8, num_stages=2,
    )  # fmt: skip
    upper = gram.triu()
    return upper + upper.triu(1).T


# --- Rows of the image plane: differences, products and moments, each input read once ------------

# Numbers that one warp holds of each moment, outputs times pixels, and the most pixels: as many
# as fit the registers.
TILE, LARGEST_BLOCK = 512, 256
# Outputs that share one reading of an image; more are taken in turn.
LARGEST_OUTPUTS = 16
# Programs that share the samples of plane_gram: some waves on the largest GPUs.
PROGRAMS = 4096


@triton.jit
def _window(image, inside, position, length, stride, FORWARD: tl.constexpr):
    """Derivative of an image along one axis, in units of a pixel, where ``inside``.

    The window of three pixels around a position, or the outermost three at the border.
    """
    if FORWARD:
        first = tl.minimum(position, length - 2)
        start = image + (first - position) * stride
        low = tl.load(start, mask=inside, other=0.0)
        return tl.load(start + stride, mask=inside, other=0.0) - low
    first = tl.minimum(tl.maximum(position - 1, 0), length - 3)
    start = image + (first - position) * stride
    low = tl.load(start, mask=inside, other=0.0)
    high = tl.load(start + 2 * stride, mask=inside, other=0.0)
    at = position - first  # 0 at the lower border, 2 at the upper, 1 between them
    middle = tl.load(start + stride, mask=inside & (at != 1), other=0.0)
    toward = (at - 1).to(tl.float32)
    return (toward - 0.5) * low - 2 * toward * middle + (toward + 0.5) * high


@triton.jit
def _gradient(
    image, pixel, inside, H, W, origin_row, origin_column, spacing, FORWARD: tl.constexpr
):
    """dI/dx, dI/dy, x and y at the pixels of one channel."""
    row, column = pixel // W, pixel % W
    along_x = _window(image + pixel, inside, column, W, 1, FORWARD) / spacing
    along_y = -_window(image + pixel, inside, row, H, W, FORWARD) / spacing
    x = (column.to(tl.float32) - origin_column) * spacing
    y = (origin_row - row.to(tl.float32)) * spacing
    return along_x, along_y, x, y


@triton.jit
def _rows_of_sample(
    images, cotangents, sample, first, C, CHANNELS, PIXELS,
    H, W, origin_row, origin_column, spacing,
    FORWARD: tl.constexpr, TRANSLATIONS: tl.constexpr,
    OUTPUTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Rows of OUTPUTS outputs of one sample, as (OUTPUTS, 8) of which K columns are in use."""
    output = first + tl.arange(0, OUTPUTS)
    xx = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
    xy = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
    yx = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
    yy = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
    if TRANSLATIONS:
        tx = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
        ty = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
    for channel in range(CHANNELS):
        image = images + (sample * CHANNELS + channel) * PIXELS
        place = ((sample * C + output) * CHANNELS + channel) * PIXELS
        for start in range(0, PIXELS, BLOCK):
            pixel = start + tl.arange(0, BLOCK)
            inside = pixel < PIXELS
            cotangent = tl.load(
                cotangents + place[:, None] + pixel[None, :],
                mask=(output < C)[:, None] & inside[None, :],
                other=0.0,
            )
            along_x, along_y, x, y = _gradient(
                image, pixel, inside, H, W, origin_row, origin_column, spacing, FORWARD
            )
            xx += cotangent * (along_x * x)[None, :]
            xy += cotangent * (along_x * y)[None, :]
            yx += cotangent * (along_y * x)[None, :]
            yy += cotangent * (along_y * y)[None, :]
            if TRANSLATIONS:
                tx += cotangent * along_x[None, :]
                ty += cotangent * along_y[None, :]
    index = tl.arange(0, 8)[None, :]
    rows = tl.where(index == 0, tl.sum(xx, 1)[:, None], 0.0)
    rows = tl.where(index == 1, tl.sum(xy, 1)[:, None], rows)
    rows = tl.where(index == 2, tl.sum(yx, 1)[:, None], rows)
    rows = tl.where(index == 3, tl.sum(yy, 1)[:, None], rows)
    if TRANSLATIONS:
        rows = tl.where(index == 4, tl.sum(tx, 1)[:, None], rows)
        rows = tl.where(index == 5, tl.sum(ty, 1)[:, None], rows)
    return -rows  # (g I)(u) = I(g^-1 u)


@triton.jit
def _plane_rows(
    images, cotangents, rows, C, CHANNELS, PIXELS,
    H, W, origin_row, origin_column, spacing,
    FORWARD: tl.constexpr, TRANSLATIONS: tl.constexpr,
    OUTPUTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program: one sample and OUTPUTS of its outputs."""
    sample = tl.program_id(0).to(tl.int64)
    first = tl.program_id(1) * OUTPUTS
    found = _rows_of_sample(
        images, cotangents, sample, first, C, CHANNELS, PIXELS,
        H, W, origin_row, origin_column, spacing, FORWARD, TRANSLATIONS, OUTPUTS, BLOCK,
    )  # fmt: skip
    K: tl.constexpr = 6 if TRANSLATIONS else 4
    output, index = (first + tl.arange(0, OUTPUTS))[:, None], tl.arange(0, 8)[None, :]
    place = (sample * C + output) * K + index
    tl.store(rows + place, found, mask=(output < C) & (index < K))


@triton.jit
def _plane_gram(
    images, cotangents, grams, N, C, CHANNELS, PIXELS,
    H, W, origin_row, origin_column, spacing,
    FORWARD: tl.constexpr, TRANSLATIONS: tl.constexpr,
    OUTPUTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program: the float64 Gram matrix of the rows of its share of the samples."""
    program = tl.program_id(0).to(tl.int64)
    gram = tl.zeros([8, 8], dtype=tl.float64)
    for sample in range(program, N, tl.num_programs(0)):
        for first in range(0, C, OUTPUTS):
            found = _rows_of_sample(
                images, cotangents, sample, first, C, CHANNELS, PIXELS,
                H, W, origin_row, origin_column, spacing, FORWARD, TRANSLATIONS, OUTPUTS, BLOCK,
            ).to(tl.float64)  # fmt: skip
            gram += tl.sum(found[:, :, None] * found[:, None, :], 0)
    index = tl.arange(0, 8)
    tl.store(grams + program * 64 + index[:, None] * 8 + index[None, :], gram)


def _arguments(images: Tensor, cotangents: Tensor, plane: Plane) -> dict:
    """What the two kernels share: sizes, geometry, and how a warp's tile is cut."""
    height, width = images.shape[-2:]
    outputs = min(LARGEST_OUTPUTS, triton.next_power_of_2(cotangents.shape[1]))
    return {
        "C": cotangents.shape[1],
        "CHANNELS": images[0].numel() // (height * width),
        "PIXELS": height * width,
        "H": height,
        "W": width,
        "origin_row": float(plane.origin_row),
        "origin_column": float(plane.origin_column),
        "spacing": float(plane.spacing),
        "FORWARD": plane.differences == "forward",
        "TRANSLATIONS": plane.translations,
        "OUTPUTS": outputs,
        "BLOCK": min(LARGEST_BLOCK, TILE // outputs),
        "num_warps": 1,  # which sums without a word to others
    }


def plane_rows(images: Tensor, cotangents: Tensor, plane: Plane) -> Tensor:
    """Rows in one launch: every input is read once (an image once for 16 outputs)."""
    n, outputs = cotangents.shape[:2]
    rows = images.new_empty(n, outputs, plane.directions)
    if not cotangents.numel():
        return rows.zero_()
    arguments = _arguments(images, cotangents, plane)
    grid = (n, triton.cdiv(outputs, arguments["OUTPUTS"]))
    _plane_rows[grid](images.contiguous(), cotangents.contiguous(), rows, **arguments)
    return rows


def plane_gram(images: Tensor, cotangents: Tensor, plane: Plane) -> Tensor:
    """The float64 Gram matrix in one launch: rows never leave the registers."""
    n, k = len(images), plane.directions
    if not cotangents.numel():
        return images.new_zeros(k, k, dtype=torch.float64)
    programs = min(n, PROGRAMS)
    grams = images.new_empty(programs, 8, 8, dtype=torch.float64)
    arguments = _arguments(images, cotangents, plane)
    _plane_gram[(programs,)](images.contiguous(), cotangents.contiguous(), grams, n, **arguments)
    return grams.sum(0)[:k, :k].contiguous()


# --- Orbits of filters under a generator, forward and backward in one launch each ----------------

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
    """One program: one set; lambda_i = cotangent_i + A^T lambda_(i+1), from the last i down.

    lambda_0 is the gradient by the filters, the sum of lambda_(i+1) element_i^T by the generator.
    """
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


def orbits(filters: Tensor, generators: Tensor, order: int) -> Tensor:
    """All orbits in one launch; d up to 64."""
    sets, count, d = filters.shape
    elements = filters.new_empty(sets, count, order, d)
    if elements.numel():
        _orbits[(sets, triton.cdiv(count, FILTERS))](
            filters.contiguous(), generators.contiguous(), elements, count, d,
            ORDER=order, FILTERS=FILTERS, WIDTH=max(16, triton.next_power_of_2(d)),
        )  # fmt: skip
    return elements


def orbits_adjoint(
    cotangents: Tensor, generators: Tensor, elements: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients in one launch."""
    sets, count, order, d = elements.shape
    by_filter = elements.new_zeros(sets, count, d)
    by_generator = elements.new_zeros(sets, d, d)
    if elements.numel():
        _orbits_adjoint[(sets,)](
            cotangents.contiguous(), generators.contiguous(), elements.contiguous(), by_filter,
            by_generator, count, d, ORDER=order, FILTERS=FILTERS,
            WIDTH=max(16, triton.next_power_of_2(d)), num_warps=8 if d > 32 else 4,
        )  # fmt: skip
    return by_filter, by_generator


# --- An unfolded layer: gradient step, soft threshold and momentum in one ------------------------

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
    point: Tensor,
    gradient: Tensor,
    previous: Tensor,
    step: Tensor | float,
    threshold: Tensor | float,
    momentum: float,
    two_sided: bool,
) -> tuple[Tensor, Tensor]:
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
    by_codes: Tensor, by_next: Tensor, codes: Tensor, step: Tensor | float, momentum: float
) -> tuple[Tensor, Tensor, Tensor]:
    """All gradients in one launch: three reads and three writes a code."""
    by_codes, by_next, codes = (t.contiguous() for t in (by_codes, by_next, codes))
    grads = [torch.empty_like(codes) for _ in range(3)]
    if codes.numel():
        _proximal_adjoint[(triton.cdiv(codes.numel(), ELEMENTS),)](
            by_codes, by_next, codes, *grads, step, momentum, codes.numel(),
            LOAD_STEP=isinstance(step, Tensor), BLOCK=ELEMENTS,
        )  # fmt: skip
    return grads[0], grads[1], grads[2]
