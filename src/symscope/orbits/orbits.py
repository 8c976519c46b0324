"""Orbits of filters under learned generators: the weights of a Linear Group Network.

Source: Theodosis, Helwani and Ba 2023 (`theodosis2023linear`). A filter w in R^d is moved by the
powers of a matrix A in GL(d), which is learned with it: its orbit is w, A w, .., A^(n-1) w.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from .._checks import choice, whole
from ..kernels import ops
from .cyclic import TOLERANCE, blocks, defect, frequencies, normal_form, random_cyclic

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


# --- Constraints ----------------------------------------------------------------------------------
# What holds a generator near, or in, the matrices with A^n = I. Each is a parametrisation of torch,
# and says four things: `forward`, the generators of a free parameter; `right_inverse`, a parameter
# of given generators; `sample`, where training starts; `penalty`, what is added to the loss.


class Free(nn.Module):
    """No constraint on (sets, dim, dim) generators: any n independent filters are an orbit."""

    penalizes = False

    def __init__(self, sets: int, dim: int, order: int):
        super().__init__()
        self.sets, self.dim, self.order = sets, dim, order

    def register(self, module: nn.Module, name: str) -> None:
        """Parametrise a module's tensor, which keeps its value."""
        parametrize.register_parametrization(module, name, self)

    def forward(self, generators: Float[Tensor, "j d d"]) -> Float[Tensor, "j d d"]:
        """The generators of a parameter: the parameter itself."""
        return generators

    def right_inverse(self, generators: Float[Tensor, "j d d"]) -> Float[Tensor, "j d d"]:
        """The parameter of given generators: the generators themselves."""
        return generators

    def check(self, generators: Float[Tensor, "j d d"]) -> None:
        """Raise ValueError for generators that an assignment would silently change: here none."""

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "j d d"]:
        """Random orthogonal generators of order n, in float64: where every constraint starts.

        From the identity, a penalty on A^n - I would keep A there.
        """
        order = self.order if self.dim > 1 else min(self.order, 2)  # of 1 x 1 matrices none above
        return random_cyclic(self.sets, self.dim, order, generator)

    def penalty(self, generators: Float[Tensor, "j d d"]) -> Float[Tensor, ""]:
        """What is added to the loss, mean over sets; 0 where ``penalizes`` is False."""
        return generators.new_zeros(())


class Penalized(Free):
    """Free, with the squared Frobenius norm of A^n - I, over d, as penalty."""

    penalizes = True

    def penalty(self, generators: Float[Tensor, "j d d"]) -> Float[Tensor, ""]:
        """The squared :func:`symscope.orbits.cyclic.defect`, mean over sets."""
        return defect(generators, self.order).square().mean()


class Orthogonal(Free):
    """A is orthogonal, by torch's own parametrisation; of its order nothing is asked.

    What is assigned becomes Q of its QR factors.
    """

    def register(self, module: nn.Module, name: str) -> None:
        """Parametrise by Cayley's map: a third of the time of the matrix exponential."""
        parametrizations.orthogonal(module, name, "cayley")
        super().register(module, name)

    def check(self, generators: Float[Tensor, "j d d"]) -> None:
        """Raise ValueError for generators that are not orthogonal."""
        check_orthogonal(generators)


class CyclicGeneral(Free):
    """A^n = I by construction, ``A = P C P^-1`` with any invertible P, which is learned.

    C, (sets, d, d), is the normal form with evenly spread frequencies
    (:func:`symscope.orbits.cyclic.blocks`); assigned generators of order n bring their own.
    """

    penalizes = True
    form: Float[Tensor, "j d d"]

    def __init__(self, sets: int, dim: int, order: int):
        super().__init__(sets, dim, order)
        form = blocks(frequencies(dim, order), order)
        self.register_buffer("form", form.to(torch.get_default_dtype()).repeat(sets, 1, 1))

    def forward(self, basis: Float[Tensor, "j d d"]) -> Float[Tensor, "j d d"]:
        """The generators of a basis P."""
        return torch.linalg.solve(basis, basis @ self.form, left=False)

    @torch.no_grad()
    def right_inverse(self, generators: Float[Tensor, "j d d"]) -> Float[Tensor, "j d d"]:
        """A basis of generators, which must be of order n; their frequencies become the form's."""
        found = [normal_form(generator, self.order) for generator in generators]
        basis = torch.stack([basis for basis, _ in found]).to(generators)
        self.form = torch.stack([blocks(each, self.order) for _, each in found]).to(self.form)
        return basis

    def penalty(self, generators: Float[Tensor, "j d d"]) -> Float[Tensor, ""]:
        """A hundredth of the squared Frobenius norm of A, over d, less 1, mean over sets.

        Where A^n = I that is 0 for an orthogonal A and positive for any other; without it the
        condition number grows with training.
        """
        return (generators.square().sum((1, 2)) / self.dim - 1).mean() / 100


class CyclicOrthogonal(CyclicGeneral):
    """A^n = I by construction, ``A = P C P^T`` with an orthogonal P, which is learned."""

    penalizes = False

    def register(self, module: nn.Module, name: str) -> None:
        """Parametrise the basis as orthogonal, by Cayley's map, and the tensor by the basis."""
        start = getattr(module, name).detach()
        parametrizations.orthogonal(module, name, "cayley")
        parametrize.register_parametrization(module, name, self)
        setattr(module, name, start)  # torch took the start for the basis, not for the generator

    def forward(self, basis: Float[Tensor, "j d d"]) -> Float[Tensor, "j d d"]:
        """The generators of an orthogonal basis P."""
        return basis @ self.form @ basis.mT

    def right_inverse(self, generators: Float[Tensor, "j d d"]) -> Float[Tensor, "j d d"]:
        """The same; ValueError for generators that are not orthogonal."""
        basis = super().right_inverse(generators)
        check_orthogonal(basis)
        return basis

    penalty = Free.penalty


def check_orthogonal(matrices: Float[Tensor, "j d d"]) -> None:
    """Raise ValueError unless every entry of A^T A - I is within the tolerance of zero."""
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    if not (matrices.mT @ matrices - eye).abs().max() <= TOLERANCE:
        raise ValueError("the generator must be orthogonal for this constraint")


CONSTRAINTS: dict[str, type[Free]] = {
    "free": Free,
    "penalized": Penalized,
    "orthogonal": Orthogonal,
    "cyclic": CyclicOrthogonal,
    "cyclic-general": CyclicGeneral,
}


# --- Orbits ---------------------------------------------------------------------------------------


class CyclicOrbit(nn.Module):
    """Filters that are the orbits of base filters under learned generators (Linear Group Networks).

    Each of ``sets`` generators A is shared by ``filters`` base filters w. Element i of an orbit is
    ``A^i w`` divided by its norm, i = 0 .. order - 1, so every filter has unit norm. Normalising
    w alone would not do: a free A then grows filters without bound.

    ``constraint`` says what holds A near, or in, the matrices with A^n = I:

    - "free": nothing; with one base filter a set an ordinary dictionary in disguise.
    - "penalized": free, and :meth:`penalty` is the squared Frobenius norm of A^n - I, over d.
    - "orthogonal": A is orthogonal, by torch's own parametrisation.
    - "cyclic" (default): A^n = I by construction, A = P C P^-1 with P orthogonal and learned, and C
      fixed plane rotations by multiples of 2 pi / n (:func:`symscope.orbits.cyclic.frequencies`).
    - "cyclic-general": the same with any invertible P, and a penalty on the norm of A.

    All start from the same draw from torch's global random state: random orthogonal matrices of
    order n. It is a drop-in for the weights of a convolution::

        orbit = ss.CyclicOrbit(dim=36, order=6, sets=6)
        torch.nn.functional.conv2d(images, orbit().reshape(-1, 1, 6, 6), stride=2)

    Args:
        dim: d, numbers in a filter (s * s pixels times channels); default 36.
        order: n, elements of an orbit; default 6.
        sets: number of generators; default 6.
        filters: base filters that share a generator; default 1.
        constraint: one of the five names; default "cyclic".

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
    ):
        super().__init__()
        for name, value in (("dim", dim), ("order", order), ("sets", sets), ("filters", filters)):
            whole(name, value, 1)
        choice("constraint", constraint, CONSTRAINTS)
        self.dim, self.order, self.constraint = dim, order, constraint
        held = CONSTRAINTS[constraint](sets, dim, order)
        self.base = nn.Parameter(torch.randn(sets, filters, dim) / dim**0.5)
        self.generators = nn.Parameter(held.sample().to(self.base))
        held.register(self, "generators")

    @property
    def held(self) -> Free:
        """The constraint itself, one of :mod:`symscope.orbits.orbits`."""
        return self.parametrizations.generators[-1]

    def forward(self) -> Float[Tensor, "j k n d"]:
        """The filters, (sets, filters, order, dim), each of unit norm."""
        moved = ops.orbits(self.base, self.generators, self.order)
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

        Both are as the attribute of that name, or without its first axis for every set alike.
        ValueError for another shape, numbers that are not finite, or generators that the constraint
        cannot hold; then nothing has changed.

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
