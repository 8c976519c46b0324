"""What holds a generator near, or in, the matrices with A^n = I: one class a constraint.

Each is a ``torch.nn`` parametrisation of the generators of :class:`symscope.CyclicOrbit`, and says
four things: ``forward``, the generators of a free parameter; ``right_inverse``, a parameter of
given generators; ``sample``, where training starts; ``penalty``, what is added to the loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from .cyclic import TOLERANCE, blocks, defect, frequencies, normal_form, random_cyclic

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Free(nn.Module):
    """No constraint. Any n independent filters are an orbit of some free A.

    Args:
        sets, dim: of the generators, (sets, dim, dim).
        order: n.
    """

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

        From the identity, a penalty on A^n - I would keep A there. A 1 x 1 matrix has no order
        above 2, so it starts at order 2 at most.
        """
        order = self.order if self.dim > 1 else min(self.order, 2)
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
        if not orthogonal(generators):
            raise ValueError("the generator must be orthogonal for this constraint")


class CyclicGeneral(Free):
    """A^n = I by construction, ``A = P C P^-1`` with any invertible P, which is learned.

    C, (sets, d, d), is the normal form (:func:`symscope.orbits.cyclic.blocks`) with evenly spread
    frequencies; it is no parameter, since frequencies are whole numbers. Assigned generators of
    order n bring their own frequencies.

    The penalty is a hundredth of the squared Frobenius norm of A, over d, less 1. Where A^n = I
    that is 0 for an orthogonal A and positive for any other; without it the condition number
    grows with training.

    Raises:
        ValueError: for an order that dim cannot hold
            (:func:`symscope.orbits.cyclic.frequencies`).
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
        """A basis of generators that are of order n; their frequencies become the form's.

        Raises:
            ValueError: for a generator that is not of order n.
        """
        found = [normal_form(generator, self.order) for generator in generators]
        basis = torch.stack([basis for basis, _ in found]).to(generators)
        self.check_basis(basis)
        self.form = torch.stack([blocks(each, self.order) for _, each in found]).to(self.form)
        return basis

    def check_basis(self, basis: Float[Tensor, "j d d"]) -> None:
        """Raise ValueError for a basis that this constraint cannot hold: here none."""

    def penalty(self, generators: Float[Tensor, "j d d"]) -> Float[Tensor, ""]:
        """A hundredth of the squared Frobenius norm of A, over d, less 1, mean over sets."""
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

    def check_basis(self, basis: Float[Tensor, "j d d"]) -> None:
        """Raise ValueError for a basis that is not orthogonal."""
        if not orthogonal(basis):
            raise ValueError("the generator must be orthogonal for this constraint")

    def penalty(self, generators: Float[Tensor, "j d d"]) -> Float[Tensor, ""]:
        """Nothing: 0."""
        return generators.new_zeros(())


def orthogonal(matrices: Float[Tensor, "j d d"]) -> bool:
    """Whether every entry of A^T A - I is within the tolerance of zero, for every matrix."""
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    return bool((matrices.mT @ matrices - eye).abs().max() <= TOLERANCE)


CONSTRAINTS: dict[str, type[Free]] = {
    "free": Free,
    "penalized": Penalized,
    "orthogonal": Orthogonal,
    "cyclic": CyclicOrthogonal,
    "cyclic-general": CyclicGeneral,
}
