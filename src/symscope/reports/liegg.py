"""The quantities of the paper, in the paper's order and units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..actions.vectors import Action
from ..algebra import matrices as algebra
from ..extract.factor import Factor

if TYPE_CHECKING:
    from jaxtyping import Float


class LieGG:
    """The paper's quantities in the paper's order, by the mean squared derivative.

    Source: LieGG (moskalev2022liegg). They depend on units: see ``Symmetries.relative``.

    Attributes:
        variance: (K,), ascending, the mean squared derivative along each direction, summed over
            outputs, in squared output units per unit of the generator.
        generators: (K, n, n), each of the action's shape, orthonormal under the Frobenius inner
            product, in the order of ``variance``.
    """

    def __init__(self, factor: Factor, action: Action):
        self._factor, self._basis = factor, action.basis.cpu().double()
        self.variance: Float[Tensor, " k"]
        self.variance, directions = factor.spectrum()
        self.generators: Float[Tensor, "k ..."] = torch.tensordot(
            directions, self._basis.to(directions), 1
        )

    @property
    def relative_variance(self) -> Float[Tensor, " k"]:
        """Variance divided by the mean over all directions, which makes it scale-free."""
        return self.variance / self.variance.mean()

    @property
    def gaps(self) -> Float[Tensor, " g"]:
        """How much less symmetric the next direction is, variance[k+1] / variance[k].

        Variances below the rounding floor count as that floor: ratios of rounding errors are 1.
        The floor is (100 eps)^2 of the largest, eps that of the coarsest numbers that went in;
        1e-5 of the largest with ``dtype=torch.float32``.
        """
        floored = self.variance.clamp(min=float(self.variance.max()) * self._factor.rounding)
        return floored[1:] / floored[:-1]

    def _known(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, "d n n"]:
        if basis.shape[1:] != self.generators.shape[1:]:
            raise ValueError(
                "basis must hold matrices of the generators' shape "
                f"{tuple(self.generators.shape[1:])}; got {tuple(basis.shape)}"
            )
        return algebra.orthonormal(basis)

    def angles_to(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, " d"]:
        """Principal angles of the first d generators to a known algebra, in degrees, ascending.

        Raises:
            ValueError: if the algebra's matrices do not have the shape of the generators.
        """
        return algebra.principal_angles(self.generators[: len(self._known(basis))], basis)

    def bias_to(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, " k"]:
        """Symmetry bias: the distance of each unit-norm generator from a known algebra.

        For so(n) it is || H - (H - H^T)/2 ||_F, the paper's. 0 is inside, 1 is orthogonal.

        Raises:
            ValueError: if the algebra's matrices do not have the shape of the generators.
        """
        inside = self._known(basis).flatten(1)
        flat = self.generators.flatten(1)
        return (flat - flat @ inside.T @ inside).norm(dim=1)

    def closure(self, count: int) -> float:
        """Closure residual (0: a Lie algebra) of the first ``count`` generators."""
        return algebra.closure_residual(self.generators[:count])

    def variance_along(self, generator: Float[Tensor, "n n"]) -> float:
        """The mean squared derivative along a generator of any length, scaled to unit norm.

        Raises:
            ValueError: if the generator is not of the report's shape, zero, or outside the
                algebra.
        """
        direction = algebra.coordinates(generator, self._basis)
        pushed = self._factor.triangle.cpu() @ (direction / direction.norm())
        return float(pushed.square().sum()) / self._factor.samples
