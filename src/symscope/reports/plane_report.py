"""What was found when images were moved: how many directions, which answer, and why."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ..actions.plane import PlaneAction
from ..algebra import matrices as algebra
from ..decide.decision import Decision
from ..decide.rule import relative_along
from ..decide.thresholds import CONFIDENCE, PLANE, RULE
from ..extract.evidence import Evidence
from .base import ReportBase

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.figure import Figure
    from torch import Tensor

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


class PlaneSymmetries(ReportBase):
    """Along which movements of the plane a network's outputs change least.

    Built by :func:`symscope.plane_symmetries`. All tensors are float64 on the CPU; K is the number
    of directions of the group, R that of those along which the images move.

    Attributes:
        action: the :class:`symscope.PlaneAction` that was searched.
        evidence: what the decision rests on, in pieces of the images.
        decision: by the rule of :mod:`symscope.decide.rule`, with q as its relative change.
        contrast: the same with the contrast network's change instead of the images', or None.
        reference: (1000,) the least change within each random set of as many deformations,
            relative to its median, to which q is relative too.
    """

    action: PlaneAction
    evidence: Evidence
    decision: Decision

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
        if self.count is None:
            return self.decision.level
        if not self.count:
            return "none"
        following = self.q[self.count] if self.count < len(self.q) else 1.0
        small = self.bound[self.count - 1] <= RULE.tolerance
        exact = small and following >= RULE.least_gap * self.q[self.count - 1]
        return "exact" if exact else "approximate"

    @property
    def count(self) -> int | None:
        """How many directions are symmetries; None where the images are too few to tell.

        All with a bound of at most 1/3.
        """
        if self.decision.count is None:
            return None
        return int((self.bound <= PLANE.loose).sum())

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
        unit = torch.nn.functional.normalize(self.contrast.directions, dim=1)
        return self._matrices(unit)

    def _matrices(self, coefficients: Float[Tensor, "a k"]) -> Float[Tensor, "a n n"]:
        return algebra.anticlockwise(super()._matrices(coefficients))

    @property
    def span(self) -> Float[Tensor, "d n n"]:
        """The symmetries, or else the directions that cannot be told from the first; orthonormal.

        Those whose q is at most twice the least.
        """
        alike = int((self.q <= PLANE.alike * self.q[0]).sum())
        return algebra.orthonormal(self.generators[: self.count or alike])

    def along(self, generator: Float[Tensor, "n n"]) -> float:
        """q along any generator of the group, of any length.

        Raises:
            ValueError: if it is not of the action's shape, zero, or outside the group's algebra.
        """
        direction = algebra.coordinates(generator, self.action.basis)
        return float(relative_along(self.evidence, direction[None])[0])

    def named(self) -> dict[str, float]:
        """q along each movement that has a name, ascending."""
        changes = {
            name: self.along(matrix) for name, matrix in named_movements(self.action).items()
        }
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
        return "\n".join(_told(self))

    def plot(self) -> Figure:
        """q along each direction, with the random deformations, and the first direction."""
        from . import plots

        return plots.plane(self)


def named_movements(action: PlaneAction) -> dict[str, Float[Tensor, "n n"]]:
    """The movements with a name that are in the action's group, of unit Frobenius norm."""
    made = {}
    for name, (a, b, c, d, x, y) in NAMED.items():
        matrix = torch.tensor([[a, b, x], [c, d, y], [0, 0, 0]], dtype=torch.float64)
        if action.shape[0] == 2:
            if x or y:
                continue
            matrix = matrix[:2, :2]
        made[name] = matrix / matrix.norm()
    return made


def _told(found: PlaneSymmetries) -> list[str]:
    decision, count = found.decision, found.count
    told = "?" if count is None else count
    shares = torch.tensor([PLANE.unusual, 1 - PLANE.unusual], dtype=torch.float64)
    low, high = torch.quantile(found.reference, shares).tolist()
    lines = [
        f"{told} of {len(found.q)} directions are symmetries: {found.level}"
        + (f" ({decision.note})" if decision.note else ""),
        "q: change of the outputs per movement of the images, relative to the least within as "
        f"many random deformations ({1 - 2 * PLANE.unusual:.0%} of these: {low:.2g} to "
        f"{high:.2g}); "
        f"bound at {decision.confidence:.0%} confidence, from {decision.samples} images in "
        f"{decision.pieces} pieces",
        f"exact: bound <= {RULE.tolerance:g} and a gap of 3 behind it; approximate: bound "
        f"<= {PLANE.loose:.2g}",
        "direction        q    bound",
    ]
    for place, (q, bound) in enumerate(zip(found.q.tolist(), found.bound.tolist(), strict=True)):
        limit = f"{bound:8.2g}" if math.isfinite(bound) else "       -"
        kept = "kept" if place < (count or 0) else "not kept"
        lines.append(f"{place + 1:9d} {q:8.2g} {limit}  {kept}")
    least = list(found.named().items())[:3]
    lines.append("of those with a name: " + ", ".join(f"{name} (q {q:.2g})" for name, q in least))
    if alike := found.alike():
        lines.append(f"not told apart: {', '.join(alike)}; read the span, not the first direction")
    if len(decision.undefined):
        lines.append(f"{len(decision.undefined)} directions do not move the images: undefined")
    if found.contrast is not None:
        c = ", ".join(f"{value:.2g}" for value in found.contrast.relative.tolist())
        lines.append(
            f"in contrast: {found.learned} learned (bound <= {PLANE.learned:g}); "
            f"change relative to the contrast network's along each direction: {c}"
        )
    return lines
