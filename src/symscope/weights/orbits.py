"""Orbits of filters under learned generators: the weights of a Linear Group Network.

Source: Theodosis, Helwani and Ba 2023 (`theodosis2023linear`). A filter w in R^d is moved by the
powers of a matrix A in GL(d), which is learned with it: its orbit is w, A w, .., A^(n-1) w.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from .._checks import choice, whole
from ..kernels import ops
from .cyclic import Cyclic, defect, effective_order, random_cyclic

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

CONSTRAINTS = (
    "free", "penalized", "invertible", "inverse", "orthogonal", "cyclic", "cyclic-general",
)  # fmt: skip


class Free(nn.Module):
    """The parametrisation that asks nothing, so that generators are assigned alike everywhere."""

    def forward(self, generators: Float[Tensor, "j d d"]) -> Float[Tensor, "j d d"]:
        """The same."""
        return generators

    def right_inverse(self, generators: Float[Tensor, "j d d"]) -> Float[Tensor, "j d d"]:
        """The same."""
        return generators


class CyclicOrbit(nn.Module):
    """Filters that are the orbits of base filters under learned generators.

    Each of ``sets`` generators A is shared by ``filters`` base filters w. Element i of an orbit is
    ``A^i w`` divided by its norm, i = 0 .. order - 1, so every filter has unit norm. Normalising
    w alone would not do: a free A then grows filters without bound.

    ``constraint`` says what holds A near, or in, the matrices with A^n = I:

    - ``"free"``: nothing. Any n independent filters are an orbit of some free A, so with one
      base filter a set this is an ordinary dictionary in disguise.
    - ``"penalized"``: free, and :meth:`penalty` is the squared Frobenius norm of A^n - I, over d.
    - ``"invertible"``: free, and the penalty is the squared logarithm of the absolute determinant,
      over d. It keeps A in GL(d) and its volume at 1; rewarding a large determinant instead
      would inflate A, whose scale no normalised filter feels.
    - ``"inverse"``: free, with a learned B, and the penalty is the squared Frobenius norm of
      A B - I, over d.
    - ``"orthogonal"``: A is orthogonal, by torch's own parametrisation.
    - ``"cyclic"`` (default): A^n = I by construction, A = P C P^-1 with P orthogonal and learned,
      and C fixed plane rotations by multiples of 2 pi / n
      (:func:`symscope.weights.cyclic.frequencies`).
    - ``"cyclic-general"``: the same with any invertible P, and the penalty is a hundredth of the
      squared Frobenius norm of A, over d, less 1. Where A^n = I that is 0 for an orthogonal A
      and positive for any other; without it the condition number grows with training.

    Every constraint starts from the same draw: random orthogonal matrices of order n. (From the
    identity, a cyclic penalty would keep A there.) Both are drawn from torch's global random
    state; :func:`symscope.networks.training.seeded` builds from a seed.

    It is a drop-in for the weights of a convolution::

        orbit = ss.CyclicOrbit(dim=36, order=6, sets=6)
        torch.nn.functional.conv2d(images, orbit().reshape(-1, 1, 6, 6), stride=2)

    Args:
        dim: d, numbers in a filter (s * s pixels times channels); default 36.
        order: n, elements of an orbit; default 6.
        sets: number of generators; default 6.
        filters: base filters that share a generator; default 1.
        constraint: as above; default "cyclic".
        backend: implementation of the orbits, see :mod:`symscope.kernels.ops`.

    Attributes:
        generators: (sets, dim, dim), differentiable. May be assigned, in its dtype; what the
            constraint cannot hold is refused, except that "orthogonal" takes Q of its QR factors.
        base: (sets, filters, dim), the base filters, at any norm.

    Raises:
        ValueError: for a size below 1, an unknown constraint, or an order that an exactly cyclic
            matrix of this size cannot have (dim = 1 with order above 2).
    """

    generators: Float[Tensor, "j d d"]

    def __init__(
        self,
        dim: int = 36,
        order: int = 6,
        sets: int = 6,
        filters: int = 1,
        constraint: str = "cyclic",
        backend: str = "auto",
    ):
        super().__init__()
        for name, value in (("dim", dim), ("order", order), ("sets", sets), ("filters", filters)):
            whole(name, value, 1)
        choice("constraint", constraint, CONSTRAINTS)
        ops.resolve(backend)
        self.dim, self.order, self.constraint, self.backend = dim, order, constraint, backend
        self.base = nn.Parameter(torch.randn(sets, filters, dim) / dim**0.5)
        # A 1 x 1 matrix has no order above 2; a constraint that need not be exact starts at 1.
        start = random_cyclic(sets, dim, order if dim > 1 else min(order, 2))
        self.generators = nn.Parameter(start.to(self.base))
        if constraint == "inverse":
            self.inverses = nn.Parameter(self.generators.detach().mT.clone())
        if constraint in ("free", "penalized", "invertible", "inverse"):
            parametrize.register_parametrization(self, "generators", Free())
        if constraint in ("orthogonal", "cyclic"):
            # Cayley's map: a third of the time of the matrix exponential.
            parametrizations.orthogonal(self, "generators", "cayley")
        if constraint in ("cyclic", "cyclic-general"):
            exact = Cyclic(sets, dim, order, orthogonal=constraint == "cyclic")
            parametrize.register_parametrization(self, "generators", exact)
        if constraint == "cyclic":  # torch took the start for the basis, not for the generator
            self.generators = start.to(self.base)

    def forward(self) -> Float[Tensor, "j k n d"]:
        """The filters, (sets, filters, order, dim), each of unit norm."""
        moved = ops.orbits(self.base, self.generators, self.order, backend=self.backend)
        return nn.functional.normalize(moved, dim=-1)

    def penalty(self) -> Float[Tensor, ""]:
        """The constraint's penalty, mean over sets; 0 where the constraint has none."""
        if self.constraint == "penalized":
            return defect(self.generators, self.order).square().mean()
        if self.constraint == "invertible":
            return torch.linalg.slogdet(self.generators).logabsdet.square().mean() / self.dim
        if self.constraint == "inverse":
            return defect(self.generators @ self.inverses, 1).square().mean()
        if self.constraint == "cyclic-general":
            return (self.generators.square().sum((1, 2)) / self.dim - 1).mean() / 100
        return self.base.new_zeros(())

    def freeze_generators(self) -> CyclicOrbit:
        """Keep the generators as they are from here on, and return the orbit: a baseline."""
        moving = {"generators", "inverses", "parametrizations"}
        for name, parameter in self.named_parameters():
            if name.split(".")[0] in moving:
                parameter.requires_grad_(False)
        return self

    @torch.no_grad()
    def report(self) -> dict[str, Tensor]:
        """What the generators are, one number a set, in float64.

        ``defect``, the Frobenius norm of A^n - I over sqrt(d); ``condition``, the ratio of the
        largest to the smallest singular value; ``effective_order``, the least m with A^m near I
        (:func:`symscope.weights.cyclic.effective_order`), 0 if there is none.
        """
        generators = self.generators.double()
        orders = [effective_order(a, limit=max(24, self.order)) for a in generators]
        return {
            "defect": defect(generators, self.order),
            "condition": torch.linalg.cond(generators),
            "effective_order": torch.tensor(orders),
        }

    def extra_repr(self) -> str:
        """The sizes, for printing."""
        sets, filters, _ = self.base.shape
        return (
            f"dim={self.dim}, order={self.order}, sets={sets}, filters={filters}, "
            f"constraint={self.constraint!r}"
        )
