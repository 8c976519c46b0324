"""An unfolded network on patches: T layers of ISTA or FISTA, whose weights are one dictionary.

Source: Theodosis, Helwani and Ba 2023 (`theodosis2023linear`): each layer is a step of a solver
of ``min over z of 1/2 |x - W^T z|^2 + lambda |z|_1``, so the weights stay in data space. W has
one filter a row. The solvers are those of Beck and Teboulle 2009 (equations 1.4 and 4.1 to 4.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from symscope._checks import choice, real, whole
from symscope.kernels import ops

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

METHODS = ("fista", "ista")


class Unfolding(NamedTuple):
    """What an unfolded network makes of a batch: codes (N, m) and the reconstruction (N, d)."""

    codes: Float[Tensor, "n m"]
    output: Float[Tensor, "n d"]


class Unfolded(nn.Module):
    """An unfolded network on patches (N, d), or any vectors.

    The step of the solver is 1 / L, with L the largest eigenvalue of ``W W^T``, found anew for
    each batch and not differentiated.

    Args:
        dictionary: a module whose call returns filters (..., d): :class:`symscope.CyclicOrbit`,
            :class:`studies.lgn.dictionaries.Dictionary`, or one's own.
        depth: T, the number of layers; default 15.
        sparsity: lambda, the weight of the codes' absolute sum, in the units of the data; above
            0, default 0.5.
        method: "fista" (default; accelerated) or "ista".
        two_sided: codes of either sign (default), or at least 0.
    """

    dictionary: Any  # a module with or without a `penalty`

    def __init__(
        self,
        dictionary: nn.Module,
        depth: int = 15,
        sparsity: float = 0.5,
        method: str = "fista",
        two_sided: bool = True,
    ):
        super().__init__()
        whole("depth", depth)
        choice("method", method, METHODS)
        self.dictionary, self.two_sided = dictionary, two_sided
        self.sparsity = real("sparsity", sparsity, above=0)
        self.momenta = momenta(depth) if method == "fista" else [0.0] * depth

    def filters(self) -> Float[Tensor, "m d"]:
        """The dictionary's filters as rows, orbit by orbit."""
        return self.dictionary().flatten(0, -2)

    def forward(
        self, inputs: Float[Tensor, "n d"], filters: Float[Tensor, "m d"] | None = None
    ) -> Unfolding:
        """The codes after T layers, and what they add up to.

        Args:
            inputs: (N, d).
            filters: (m, d), to solve with other filters than the dictionary's: the truth, say.
        """
        filters = self.filters() if filters is None else filters
        if inputs.ndim != 2 or inputs.shape[1] != filters.shape[1]:
            raise ValueError(
                f"patches must be (N, {filters.shape[1]}) to fit the filters, "
                f"got {tuple(inputs.shape)}"
            )
        step = 1 / largest_eigenvalue(filters)
        gradient = -inputs @ filters.mT  # at codes of zero
        point = codes = torch.zeros_like(gradient)
        for layer, momentum in enumerate(self.momenta):
            if layer:
                gradient = (point @ filters - inputs) @ filters.mT
            codes, point = ops.proximal_step(
                point, gradient, codes, step, self.sparsity * step, momentum, self.two_sided
            )
        return Unfolding(codes, codes @ filters)

    def penalty(self) -> Tensor | float:
        """The dictionary's own penalty, 0 if it has none."""
        return self.dictionary.penalty() if hasattr(self.dictionary, "penalty") else 0.0


class Reconstructor(nn.Module):
    """The task of reconstruction: an unfolded network judged by its own objective."""

    def __init__(self, network: Unfolded):
        super().__init__()
        self.network = network

    def forward(self, inputs: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The reconstructions."""
        return self.network(inputs).output

    def loss(
        self,
        inputs: Float[Tensor, "n d"],
        targets: Tensor | None = None,
        *,
        filters: Float[Tensor, "m d"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean over samples of ``1/2 |x - W^T z|^2 + lambda |z|_1``.

        Args:
            inputs: what is reconstructed.
            targets: not looked at; every task has them.
            filters: (m, d), judged in place of the network's own; default None, its own.
        """
        codes, output = self.network(inputs, filters)
        sizes = codes.abs().sum(1)
        return ((inputs - output).square().sum(1) / 2 + self.network.sparsity * sizes).mean()


@torch.no_grad()
def largest_eigenvalue(filters: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """The largest eigenvalue of ``W W^T``, by the smaller of ``W W^T`` and ``W^T W``."""
    m, d = filters.shape
    gram = filters @ filters.mT if m < d else filters.mT @ filters
    return torch.linalg.eigvalsh(gram)[-1]


def momenta(depth: int) -> list[float]:
    """FISTA's momentum in each of so many layers: 0, then rising to 1 (equations 4.2 and 4.3)."""
    t = [1.0]
    for _ in range(depth):
        t.append((1 + (1 + 4 * t[-1] ** 2) ** 0.5) / 2)
    return [(t[k] - 1) / t[k + 1] for k in range(depth)]
