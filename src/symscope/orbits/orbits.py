"""Orbits of filters under learned generators: the weights of a Linear Group Network.

Source: Theodosis, Helwani and Ba 2023 (`theodosis2023linear`). A filter w in R^d is moved by the
powers of a matrix A in GL(d), which is learned with it: its orbit is w, A w, .., A^(n-1) w.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .._checks import choice, whole
from ..kernels import ops
from .constraints import CONSTRAINTS, Free

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class CyclicOrbit(nn.Module):
    """Filters that are the orbits of base filters under learned generators.

    Each of ``sets`` generators A is shared by ``filters`` base filters w. Element i of an orbit is
    ``A^i w`` divided by its norm, i = 0 .. order - 1, so every filter has unit norm. Normalising
    w alone would not do: a free A then grows filters without bound.

    ``constraint`` says what holds A near, or in, the matrices with A^n = I:

    - ``"free"``: nothing; with one base filter a set an ordinary dictionary in disguise.
    - ``"penalized"``: free, and :meth:`penalty` is the squared Frobenius norm of A^n - I, over d.
    - ``"orthogonal"``: A is orthogonal, by torch's own parametrisation.
    - ``"cyclic"`` (default): A^n = I by construction, A = P C P^-1 with P orthogonal and learned,
      and C fixed plane rotations by multiples of 2 pi / n
      (:func:`symscope.orbits.cyclic.frequencies`).
    - ``"cyclic-general"``: the same with any invertible P
      (:class:`symscope.orbits.constraints.CyclicGeneral`).

    Every constraint starts from the same draw: random orthogonal matrices of order n. (From the
    identity, a cyclic penalty would keep A there.) Both are drawn from torch's global random
    state; :func:`studies.networks.training.seeded` builds from a seed.

    It is a drop-in for the weights of a convolution::

        orbit = ss.CyclicOrbit(dim=36, order=6, sets=6)
        torch.nn.functional.conv2d(images, orbit().reshape(-1, 1, 6, 6), stride=2)

    Args:
        dim: d, numbers in a filter (s * s pixels times channels); default 36.
        order: n, elements of an orbit; default 6.
        sets: number of generators; default 6.
        filters: base filters that share a generator; default 1.
        constraint: one of the five names, each a class of :mod:`symscope.orbits.constraints`;
            default "cyclic".
        backend: implementation of the orbits, see :mod:`symscope.kernels.ops`.

    Attributes:
        generators: (sets, dim, dim), differentiable. May be assigned, in its dtype; what the
            constraint cannot hold is refused, except that "orthogonal" takes Q of its QR factors.
        base: (sets, filters, dim), the base filters, at any norm.

    Raises:
        ValueError: for a size below 1, an unknown constraint, or an order that an exactly cyclic
            matrix of this size cannot have (dim = 1 with order above 2).

    >>> orbit = CyclicOrbit(dim=16, order=4, sets=2, filters=3)
    >>> orbit().shape
    torch.Size([2, 3, 4, 16])
    """

    generators: Float[Tensor, "j d d"]
    parametrizations: Any  # torch's, by the parameter's name

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
        ops.check_backend(backend)
        self.dim, self.order, self.constraint, self.backend = dim, order, constraint, backend
        held = CONSTRAINTS[constraint](sets, dim, order)
        self.base = nn.Parameter(torch.randn(sets, filters, dim) / dim**0.5)
        self.generators = nn.Parameter(held.sample().to(self.base))
        held.register(self, "generators")

    @property
    def held(self) -> Free:
        """The constraint itself, one of :mod:`symscope.orbits.constraints`."""
        return self.parametrizations.generators[-1]

    def forward(self) -> Float[Tensor, "j k n d"]:
        """The filters, (sets, filters, order, dim), each of unit norm."""
        moved = ops.orbits(self.base, self.generators, self.order, backend=self.backend)
        return nn.functional.normalize(moved, dim=-1)

    def penalty(self) -> Float[Tensor, ""]:
        """The constraint's penalty, mean over sets; 0 where the constraint has none."""
        if not self.held.penalizes:  # and the generators need not be computed
            return self.base.new_zeros(())
        return self.held.penalty(self.generators)

    @torch.no_grad()
    def start_at(
        self, generators: Float[Tensor, "*j d d"], base: Float[Tensor, "*j k d"] | None = None
    ) -> CyclicOrbit:
        """Set the generators, and the base filters where given, and return the orbit.

        Args:
            generators: (sets, dim, dim), or (dim, dim) for every set alike.
            base: (sets, filters, dim), or (filters, dim) for every set alike, at any norm.
                Default None: the base filters stay.

        Raises:
            ValueError: for another shape, numbers that are not finite, or generators that the
                constraint cannot hold. Then nothing has changed.

        >>> shift = torch.eye(4).roll(1, 0)
        >>> CyclicOrbit(4, 4, 1).start_at(shift, shift[:1])().argmax(-1)
        tensor([[[3, 0, 1, 2]]])
        """
        given = {"generators": (generators, self.generators), "base": (base, self.base)}
        for name, (value, own) in given.items():
            if value is not None and value.shape not in (own.shape, own.shape[1:]):
                raise ValueError(
                    f"{name} must be {tuple(own.shape)}, or {tuple(own.shape[1:])} for every set "
                    f"alike; got {tuple(value.shape)}"
                )
            if value is not None and not value.isfinite().all():
                raise ValueError(f"{name} must be finite")
        start = generators.detach().expand_as(self.generators).to(self.base)
        self.held.check(start)
        self.generators = start
        if base is not None:
            self.base.copy_(base)
        return self
