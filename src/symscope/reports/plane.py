"""Which movements of the plane change an image network little: found by moving the images.

LieGG (moskalev2022liegg) divides by the norm of the generator, and a rotation moves digits least
per norm. Here the outputs' change is divided by that of the images themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import _draws as draws
from .._checks import real
from ..actions.plane import PlaneAction, weighted_neighbours
from ..actions.vectors import runge_kutta
from ..algebra import matrices as algebra
from ..decide.decision import CONFIDENCE, PLANE, RULE, Decision, check_levels
from ..decide.rule import decide, relative_along
from ..extract.checks import check_precision
from ..extract.evidence import COMMON, NETWORK, Evidence
from ..extract.modes import device_of, running
from ..extract.network import Network, Outputs
from ..inputs.stream import Groups, Stream
from .base import ReportBase

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from matplotlib.figure import Figure

# Movements with a name, as (2, 2) matrices beside a translation.
NAMED = {
    "rotation": (0, -1, 1, 0, 0, 0),
    "scaling": (1, 0, 0, 1, 0, 0),
    "scaling of x": (1, 0, 0, 0, 0, 0),
    "scaling of y": (0, 0, 0, 1, 0, 0),
    "squeeze": (1, 0, 0, -1, 0, 0),
    "diagonal squeeze": (0, 1, 1, 0, 0, 0),
    "shear along x": (0, 1, 0, 0, 0, 0),
    "shear along y": (0, 0, 1, 0, 0, 0),
    "translation in x": (0, 0, 0, 0, 1, 0),
    "translation in y": (0, 0, 0, 0, 0, 1),
}
# The exponents (a, b) of the monomials x^a y^b of which every field is made.
POWERS = [(a, total - a) for total in range(4) for a in range(total, -1, -1)]
LINEAR = 3  # as many of them, 1, x and y, make an affine field
# Pixels beyond the border where the spline still differs from its value outside, by 1e-5 of it.
FRAME = 9


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
    groups: Groups | None = None,
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
        groups: (N,), which images belong together: as for :func:`symscope.learned_symmetries`.

    Raises:
        ValueError: for images that are empty, not finite or of another shape; settings out of
            range; outputs of a wrong shape, not finite, or that never change; a contrast network
            with other outputs.
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
    labels: list[Tensor | None] = []
    copies, stream = 0, Stream(images, action, batch_size, seed, groups=groups)
    x = stream.peek().inputs
    edges = [edge.flatten() for edge in (x[..., 0, :], x[..., -1, :], x[..., 0], x[..., -1])]
    border = float(torch.cat(edges).median())
    warp = Warp(x, border if outside is None else real("outside", outside))
    with ExitStack() as stack:
        for network in networks.values():  # once: all weights are copied, to be put back
            stack.enter_context(running(network))
        for batch in stream:
            rows = _secants(networks, batch.inputs, warp, fields, step)
            outputs, eps = rows["model"].shape[1], torch.finfo(rows["model"].dtype).eps
            for name, each in rows.items():
                held[name].append((each.double().mT @ each.double()).cpu())
            labels.append(batch.labels)
            copies += batch.copies
    grams = {name: torch.cat(parts) for name, parts in held.items()}
    for name in networks:
        if not grams[name].any():
            raise ValueError(f"the outputs of {name} never change as these images are moved")
    size = len(action.basis)
    moves = _cut(grams["model"])[:, None, None] * torch.stack([grams["model"], grams["images"]])
    changed, moved = moves.sum(1)[:, size:, size:].unbind()
    reference = _least_changes(changed, moved, size, seed)
    own, moved = moves[:, :, :size, :size].unbind()
    known = [each for each in labels if each is not None]
    together = torch.cat(known) if len(known) == len(labels) else None
    rest = outputs, eps, together, copies
    scale = float(reference.median())
    evidence = _evidence(own, (scale or 1.0) ** 2 * moved, *rest)
    if not scale:  # so few images change that along most directions none does
        evidence.still, scale = len(own), 1.0
    compared = None
    if contrast is not None:
        weights = (_cut(grams["model"]) * _cut(grams["contrast"]))[:, None, None]
        one, other = (weights * grams[name][:, :size, :size] for name in networks)
        compared = decide(_evidence(one, other, *rest), PLANE.loose, confidence)
    return PlaneSymmetries(action, evidence, compared, reference / scale, confidence)


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
    images = images.to(device_of(network, images.device))
    try:
        values = Outputs()(network(images), len(images))
    except RuntimeError as error:
        check_precision(Network(network, Outputs()), images, error, f"{name}: ")
        raise
    if not torch.isfinite(values).all():
        raise ValueError(f"the outputs of {name} are NaN or infinite")
    if values.shape[1] < PLANE.centred:
        return values
    return torch.nn.functional.normalize(values - values.mean(1, keepdim=True), dim=1)


def _cut(grams: Float[Tensor, "n f f"]) -> Float[Tensor, " n"]:
    """Squared weights of the images: heavy tails are cut off, exact symmetries stay exact."""
    sizes = grams.diagonal(dim1=1, dim2=2).sum(1)
    limit = torch.quantile(sizes[sizes > 0], PLANE.quantile)  # most may not change at all
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
    own: Float[Tensor, "n k k"],
    reference: Float[Tensor, "n k k"],
    outputs: int,
    eps: float,
    labels: Int[Tensor, " n"] | None,
    copies: int,
) -> Evidence:
    """What a decision rests on: one Gram matrix an image, and what it is relative to."""
    evidence = Evidence(own.shape[-1], eps=eps, still=int((own.flatten(1) == 0).all(1).sum()))
    for start, stop, piece in evidence.spans(len(own), labels, copies):
        images = stop - start
        for kind, grams in ((NETWORK, own), (COMMON, reference)):  # which counts in full
            rows = images * outputs
            piece.factors[kind].update_gram(grams[start:stop].sum(0), images, rows, torch.float64)
    return evidence


class PlaneSymmetries(ReportBase):
    """Along which movements of the plane a network's outputs change least.

    All tensors are float64 on the CPU; R is the number of directions that move the images.

    Attributes:
        decision: by the rule of :mod:`symscope.decide.rule`, with q as its relative change.
        contrast: the same with the contrast network's change instead of the images', or None.
        reference: (1000,) the least change within each random set of as many deformations,
            relative to its median, to which q is relative too.
    """

    action: PlaneAction
    evidence: Evidence
    decision: Decision
    __str__ = ReportBase.__repr__  # q is relative to deformations, and why() says so

    def __init__(
        self,
        action: PlaneAction,
        evidence: Evidence,
        contrast: Decision | None,
        reference: Float[Tensor, " draws"],
        confidence: float = CONFIDENCE,
    ):
        super().__init__(action, evidence, PLANE.loose, confidence)
        self.contrast, self.reference = contrast, reference

    @property
    def q(self) -> Float[Tensor, " r"]:
        """``relative``: the outputs' change along each direction per movement of the images.

        1 is the median of the least within as many random deformations.
        """
        return self.relative

    @property
    def level(self) -> str:
        """How symmetric the most symmetric directions are.

        "exact": the bound of q at most 0.1, and the next q at least three times as large;
        "approximate": the bound of q at most 1/3; "none"; "too few data".
        """
        if not self.count:
            return self.decision.level if self.count is None else "none"
        following = self.q[self.count] if self.count < len(self.q) else 1.0
        small = self.bound[self.count - 1] <= RULE.tolerance
        exact = small and following >= RULE.least_gap * self.q[self.count - 1]
        return "exact" if exact else "approximate"

    @property
    def count(self) -> int | None:
        """How many directions have a bound of at most 1/3; None where the images are too few."""
        return None if self.decision.count is None else int((self.bound <= PLANE.loose).sum())

    @property
    def learned(self) -> int | None:
        """Along how many directions the outputs change clearly less than the contrast network's.

        Their bounds are at most 0.7 of its change; where several numbers qualify, that with the
        largest gap behind it. None without a contrast network.
        """
        if self.contrast is None or self.contrast.count is None:
            return None
        change = self.contrast.relative.clamp(min=1e-12)
        gaps = torch.cat([change[1:], torch.ones(1, dtype=change.dtype)]) / change
        qualified = gaps[self.contrast.bound <= PLANE.learned]
        return int(qualified.argmax()) + 1 if len(qualified) else 0

    @property
    def contrasted(self) -> Float[Tensor, "r n n"]:
        """The generators in the order of the change in contrast, each of unit Frobenius norm."""
        if self.contrast is None:
            raise ValueError("no contrast network was handed in: plane_symmetries(contrast=...)")
        return self._matrices(torch.nn.functional.normalize(self.contrast.directions, dim=1))

    def _matrices(self, coefficients: Float[Tensor, "a k"]) -> Float[Tensor, "a n n"]:
        return algebra.anticlockwise(super()._matrices(coefficients))

    @property
    def span(self) -> Float[Tensor, "d n n"]:
        """An orthonormal basis of the symmetries, or else of all with a q up to twice the least."""
        alike = int((self.q <= PLANE.alike * self.q[0]).sum())
        return algebra.orthonormal(self.generators[: self.count or alike])

    def along(self, generator: Float[Tensor, "n n"]) -> float:
        """q along any generator of the group's algebra, of any length but zero."""
        direction = algebra.coordinates(generator, self.action.basis)
        return float(relative_along(self.evidence, direction[None])[0])

    def named(self) -> dict[str, float]:
        """q along each movement that has a name, ascending."""
        changes = {name: self.along(each) for name, each in named_movements(self.action).items()}
        return dict(sorted(changes.items(), key=lambda item: item[1]))

    def alike(self) -> list[str]:
        """The named movements that cannot be told apart, where there are any.

        Those with a q of at most twice the least, if they span more than the symmetries found
        and the least is below that of 97.5 % of the random deformations: a digit's slant makes a
        translation and a shear alike.
        """
        if self.q[0] > torch.quantile(self.reference, PLANE.unusual):
            return []
        movements = named_movements(self.action)
        near = [name for name, q in self.named().items() if q <= PLANE.alike * float(self.q[0])]
        if not near:
            return []
        spanned = algebra.orthonormal(torch.stack([movements[name] for name in near]))
        return near if len(spanned) > max(self.count or 0, 1) else []

    def why(self) -> str:
        """In words what was found, and on what it rests."""
        decision, count = self.decision, self.count
        shares = torch.tensor([PLANE.unusual, 1 - PLANE.unusual], dtype=torch.float64)
        low, high = torch.quantile(self.reference, shares).tolist()
        lines = [
            f"{'?' if count is None else count} of {len(self.q)} directions are symmetries: "
            f"{self.level}" + (f" ({decision.note})" if decision.note else ""),
            "q: change of the outputs per movement of the images, relative to the least within as "
            f"many random deformations ({1 - 2 * PLANE.unusual:.0%} of these: {low:.2g} to "
            f"{high:.2g}); bound at {decision.confidence:.0%} confidence, from "
            f"{decision.samples} images in {decision.pieces} pieces",
            f"exact: bound <= {RULE.tolerance:g} and a gap of 3 behind it; approximate: bound "
            f"<= {PLANE.loose:.2g}",
            "direction        q    bound",
        ]
        for place, (q, bound) in enumerate(zip(self.q.tolist(), self.bound.tolist(), strict=True)):
            limit = f"{bound:8.2g}" if math.isfinite(bound) else "       -"
            kept = "kept" if place < (count or 0) else "not kept"
            lines.append(f"{place + 1:9d} {q:8.2g} {limit}  {kept}")
        least = ", ".join(f"{name} (q {q:.2g})" for name, q in list(self.named().items())[:3])
        lines.append(f"of those with a name: {least}")
        if alike := ", ".join(self.alike()):
            lines.append(f"not told apart: {alike}; read the span, not the first direction")
        if len(decision.undefined):
            lines.append(f"{len(decision.undefined)} directions do not move the images: undefined")
        if self.contrast is not None:
            lines.append(
                f"in contrast: {self.learned} learned (bound <= {PLANE.learned:g}); change "
                "relative to the contrast network's along each direction: "
                + ", ".join(f"{value:.2g}" for value in self.contrast.relative.tolist())
            )
        return "\n".join(lines)

    def plot(self) -> Figure:
        """q along each direction, with the random deformations, and the first direction."""
        from . import plots

        return plots.plane(self)


def named_movements(action: PlaneAction) -> dict[str, Float[Tensor, "n n"]]:
    """The movements with a name that are in the action's group, of unit Frobenius norm."""
    made, n = {}, action.shape[0]
    for name, (a, b, c, d, x, y) in NAMED.items():
        if n == 3 or not (x or y):
            matrix = torch.tensor([[a, b, x], [c, d, y], [0, 0, 0]], dtype=torch.float64)[:n, :n]
            made[name] = matrix / matrix.norm()
    return made


def affine_fields(basis: Float[Tensor, "k n n"]) -> Float[Tensor, "k 2 p"]:
    """Matrices, (2, 2) or (3, 3) in homogeneous coordinates, as fields on the monomials."""
    fields = torch.zeros(len(basis), 2, len(POWERS), dtype=torch.float64)
    fields[:, :, 1:LINEAR] = basis[:, :2, :2]
    if basis.shape[1] == LINEAR:
        fields[:, :, 0] = basis[:, :2, 2]
    return fields


def deformations() -> Float[Tensor, "14 2 p"]:
    """All quadratic and cubic fields of the plane, one monomial each; none is affine."""
    higher = len(POWERS) - LINEAR
    fields = torch.zeros(2, higher, 2, len(POWERS), dtype=torch.float64)
    for component in range(2):
        for power in range(higher):
            fields[component, power, component, LINEAR + power] = 1.0
    return fields.flatten(0, 1)


class Warp:
    """Images like these moved along fields: (g I)(u) = I(g^-1 u), by cubic B-splines.

    The spline runs through the pixels; ``outside`` is the value beyond the border. Coordinates are
    those of :class:`symscope.PlaneAction`.
    """

    def __init__(self, images: Float[Tensor, "n *channels h w"], outside: float):
        self.outside = outside
        x, y = PlaneAction().coordinates(images)
        self._grid = torch.stack(torch.meshgrid(x.double(), y.double(), indexing="xy"), -1)
        self._step = float(x[1] - x[0])
        self._filters = [_prefilter(size + 2 * FRAME).to(images) for size in images.shape[-2:]]

    def coefficients(
        self, images: Float[Tensor, "n *channels h w"]
    ) -> Float[Tensor, "n *channels h2 w2"]:
        """The coefficients of the spline through the pixels, in a frame."""
        framed = torch.nn.functional.pad(images - self.outside, [FRAME] * 4)
        down, across = self._filters
        return down @ framed @ across

    def moved(
        self,
        coefficients: Float[Tensor, "n *channels h2 w2"],
        field: Float[Tensor, "2 p"],
        t: float,
    ) -> Float[Tensor, "n *channels h w"]:
        """Images, as :meth:`coefficients`, moved along a field for the time t, in one step."""

        def velocity(u: Tensor) -> Tensor:
            powers = torch.stack([u[..., 0] ** a * u[..., 1] ** b for a, b in POWERS], -1)
            return powers @ field.to(u).T

        height, width = coefficients.shape[-2:]
        source = runge_kutta(velocity, self._grid, -t)
        columns = (source[..., 0] - self._grid[0, 0, 0]) / self._step + FRAME
        rows = (self._grid[0, 0, 1] - source[..., 1]) / self._step + FRAME
        steps = torch.arange(-1, 3, device=source.device)
        at_row = rows.floor().long()[..., None] + steps
        at_column = columns.floor().long()[..., None] + steps
        by_row, by_column = (_weights(places - places.floor()) for places in (rows, columns))
        by_row = by_row * ((at_row >= 0) & (at_row < height))
        by_column = by_column * ((at_column >= 0) & (at_column < width))
        at_row, at_column = at_row.clamp(0, height - 1), at_column.clamp(0, width - 1)
        axes = [(at_row, by_row), (at_column, by_column)]
        return weighted_neighbours(coefficients, axes) + self.outside


def _prefilter(size: int) -> Float[Tensor, "n n"]:
    """From pixels to the coefficients of the cubic spline through them, along one axis."""
    samples = 4 / 6 * torch.eye(size, dtype=torch.float64)
    for side in (1, -1):
        samples += torch.diag(torch.full((size - 1,), 1 / 6, dtype=torch.float64), side)
    return torch.linalg.inv(samples)


def _weights(s: Float[Tensor, "h w"]) -> Float[Tensor, "h w 4"]:
    """The cubic B-spline at the pixels at -1, 0, 1 and 2, for a place s in [0, 1)."""
    r = 1 - s
    inner = [4 / 6 - part**2 * (2 - part) / 2 for part in (s, r)]
    return torch.stack([r**3 / 6, *inner, s**3 / 6], -1)
