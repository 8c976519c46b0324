"""Which movements of the plane change an image network little: found by moving the images.

LieGG (moskalev2022liegg) divides by the norm of the generator, and a rotation moves digits least
per norm. Here the outputs' change is divided by that of the images themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import _draws as draws
from .._checks import real
from ..actions.plane import PlaneAction
from ..decide.rule import decide
from ..decide.thresholds import CONFIDENCE, PLANE, check_levels
from ..extract.evidence import COMMON, NETWORK, Evidence
from ..extract.modes import device_of, running
from ..extract.network import Outputs
from ..inputs.stream import Batch, Stream
from .plane_report import PlaneSymmetries
from .warps import Warp, affine_fields, deformations

if TYPE_CHECKING:
    from jaxtyping import Float


def plane_symmetries(
    model: Callable[[Tensor], Tensor],
    images: Tensor | Iterable,
    *,
    group: str = "affine",
    contrast: Callable[[Tensor], Tensor] | None = None,
    degrees: float = PLANE.degrees,
    outside: float | None = None,
    batch_size: int = 512,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> PlaneSymmetries:
    """Along which movements of the plane an image network's outputs change least.

    Outputs and images are compared a few degrees to either side, (F(I+) - F(I-)) / 2t. The
    outputs' change for a given change of the images is relative to the least one along as many
    random quadratic and cubic deformations, none of them affine. Outputs are centred and scaled
    to unit norm, image by image, where there are three or more: what softmax ignores plays no
    part.

    Args:
        model: any torch module or callable from images to (N, C) or (N,), run in eval mode. It
            need not be differentiable.
        images: (N, H, W) or (N, channels, H, W), or an iterable of such batches.
        group: "affine" (default), six directions, or "gl2", the four that keep the centre.
        contrast: a network of the same kind trained without what the first may have learned
            from, an augmentation say; default None.
        degrees: of a turn to either side, above 0; default 2.5.
        outside: the value beyond the border; default None, the median of the border's pixels.
        batch_size: images at a time; default 512.
        seed: for the random deformations.
        confidence: of the upper bounds, in (0, 1), default 0.95.

    Returns:
        The report, a :class:`symscope.reports.plane_report.PlaneSymmetries`.

    Raises:
        ValueError: for images that are empty, not finite or of another shape; an unknown group;
            degrees not above 0; a confidence outside (0, 1); outputs of a wrong shape, not
            finite, or that never change; a contrast network with other outputs.
        TypeError: for images that are no tensors, or integers; a model that is not callable.

    >>> import symscope as ss, torch
    >>> images = torch.rand(60, 9, 9, generator=torch.Generator().manual_seed(0))
    >>> found = ss.plane_symmetries(lambda x: x[:, 4:, 2:6].flatten(1), images, group="gl2")
    >>> found.count, found.level
    (0, 'none')
    """
    action = PlaneAction(group)
    step = 2**0.5 * math.radians(real("degrees", degrees, above=0))  # a turn has norm sqrt(2)
    check_levels(PLANE.loose, confidence)
    networks = {"model": model} | ({} if contrast is None else {"contrast": contrast})
    for name, network in networks.items():
        if not callable(network):
            raise TypeError(f"{name} must be callable, got {type(network).__name__}")
    fields = torch.cat([affine_fields(action.basis), deformations()])
    held: dict[str, list[Tensor]] = {name: [] for name in (*networks, "images")}
    warp = None
    stream = Stream(images, action, batch_size, seed)
    for batch in _running(stream, networks):
        if warp is None:
            outside = _border(batch.inputs) if outside is None else real("outside", outside)
            warp = Warp(batch.inputs, outside)
        rows = _secants(networks, batch.inputs, warp, fields, step)
        outputs, eps = rows["model"].shape[1], torch.finfo(rows["model"].dtype).eps
        for name, each in rows.items():
            each = each.double()
            held[name].append((each.mT @ each).cpu())
    if warp is None:
        raise ValueError("data is empty: the iterable yielded no samples")
    grams = {name: torch.cat(parts) for name, parts in held.items()}
    for name in networks:
        if not grams[name].any():
            raise ValueError(f"the outputs of {name} never change as these images are moved")
    size = len(action.basis)
    moves = _cut(grams["model"])[:, None, None] * torch.stack([grams["model"], grams["images"]])
    changed, moved = moves.sum(1)[:, size:, size:].unbind()
    draws = _least_changes(changed, moved, size, seed)
    own, moved = moves[:, :, :size, :size].unbind()
    evidence = _evidence(own, draws.median() ** 2 * moved, outputs, eps)
    compared = None
    if contrast is not None:
        weights = _cut(grams["model"]) * _cut(grams["contrast"])
        one, other = (
            weights[:, None, None] * grams[name][:, :size, :size] for name in ("model", "contrast")
        )
        compared = decide(_evidence(one, other, outputs, eps), PLANE.loose, confidence)
    return PlaneSymmetries(action, evidence, compared, draws / draws.median(), confidence)


def _running(stream: Stream, networks: Mapping[str, Callable]) -> Iterator[Batch]:
    """The batches, while all networks run in evaluation mode: entered once, not batch by batch."""
    with ExitStack() as stack:
        for network in networks.values():
            stack.enter_context(running(network))
        yield from stream


def _border(images: Float[Tensor, "n *channels h w"]) -> float:
    edges = images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]
    return float(torch.cat([edge.flatten() for edge in edges]).median())


def _secants(
    networks: Mapping[str, Callable[[Tensor], Tensor]],
    images: Float[Tensor, "n *channels h w"],
    warp: Warp,
    fields: Float[Tensor, "f 2 p"],
    step: float,
) -> dict[str, Float[Tensor, "n _ f"]]:
    """The change of every network's outputs, and of the images, along every field."""
    coefficients = warp.coefficients(images)
    columns: dict[str, list[Tensor]] = {name: [] for name in (*networks, "images")}
    for field in fields:
        sides = [warp.moved(coefficients, field, t) for t in (step, -step)]
        columns["images"].append((sides[0] - sides[1]).flatten(1) / (2 * step))
        for name, network in networks.items():
            ahead, behind = (_values(name, network, side) for side in sides)
            columns[name].append((ahead - behind) / (2 * step))
    rows = {name: torch.stack(parts, -1) for name, parts in columns.items()}
    shapes = {name: tuple(rows[name].shape[:2]) for name in networks}
    if len(set(shapes.values())) > 1:
        raise ValueError(
            f"contrast must have outputs like the model's, {shapes['model']}; "
            f"got {shapes['contrast']}"
        )
    return rows


@torch.no_grad()
def _values(name: str, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Its outputs (N, C), centred and of unit norm where there are enough."""
    raw = network(images.to(device_of(network, images.device)))
    values = Outputs()(raw, len(images))
    if not torch.isfinite(values).all():
        raise ValueError(f"the outputs of {name} are NaN or infinite")
    if values.shape[1] < PLANE.centred:
        return values
    values = values - values.mean(1, keepdim=True)
    return torch.nn.functional.normalize(values, dim=1)


def _cut(grams: Float[Tensor, "n f f"]) -> Float[Tensor, " n"]:
    """Squared weights of the images: heavy tails are cut off, exact symmetries stay exact."""
    sizes = grams.diagonal(dim1=1, dim2=2).sum(1)
    limit = torch.quantile(sizes, PLANE.quantile)
    return torch.where(sizes > limit, limit / sizes, 1.0)


def _least_changes(
    own: Float[Tensor, "d d"], moved: Float[Tensor, "d d"], size: int, seed: int
) -> Float[Tensor, " draws"]:
    """The least change of the outputs per movement within random sets of deformations.

    Any deformation is as likely as any other that moves the images as far.
    """
    lower = torch.linalg.cholesky(moved)
    half = torch.linalg.solve_triangular(lower, own, upper=False)
    white = torch.linalg.solve_triangular(lower, half.T, upper=False)
    draw = draws.stream(seed, "deformations")
    random = torch.randn(PLANE.draws, len(own), size, generator=draw, dtype=torch.float64)
    frames = torch.linalg.qr(random).Q
    return torch.linalg.eigvalsh(frames.mT @ white @ frames)[:, 0].clamp(min=0).sqrt()


def _evidence(
    own: Float[Tensor, "n k k"], reference: Float[Tensor, "n k k"], outputs: int, eps: float
) -> Evidence:
    """What a decision rests on: one Gram matrix an image, and what it is relative to."""
    evidence = Evidence(own.shape[-1], eps=eps)
    for start, stop, piece in evidence.spans(len(own)):
        images = stop - start
        for kind, grams in ((NETWORK, own), (COMMON, reference)):  # which counts in full
            rows = images * outputs
            piece.factors[kind].update_gram(grams[start:stop].sum(0), images, rows, torch.float64)
    return evidence
