"""An unfolded network on patches: T layers of FISTA, whose weights are one dictionary.

Source: Theodosis, Helwani and Ba 2023 (`theodosis2023linear`): each layer is a step of a solver
of ``min over z of 1/2 |x - W^T z|^2 + lambda |z|_1``, so the weights stay in data space. W has
one filter a row. The solver is that of Beck and Teboulle 2009 (equations 4.1 to 4.3).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from symscope._checks import real, whole
from symscope.kernels import ops

from ..networks import fit_steps, seeded

if TYPE_CHECKING:
    from jaxtyping import Float

SPARSITIES = (0.3, 0.15, 0.08, 0.05)  # of the stages that prune a dictionary
EXCESS = 2.0  # times as many atoms as in the end, that it begins with
SAMPLES = 4000  # that the use of an atom is judged on
TWINS = 0.9  # cosine above which two atoms count as one


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
            :class:`Dictionary`, or one's own.
        depth: T, the number of layers; default 15.
        sparsity: lambda, the weight of the codes' absolute sum, in the units of the data; above
            0, default 0.5.
    """

    dictionary: Any  # a module with or without a `penalty`

    def __init__(
        self,
        dictionary: nn.Module,
        depth: int = 15,
        sparsity: float = 0.5,
        two_sided: bool = True,
    ):
        super().__init__()
        self.dictionary, self.two_sided = dictionary, two_sided
        self.sparsity = real("sparsity", sparsity, above=0)
        self.momenta = momenta(whole("depth", depth))

    def filters(self) -> Float[Tensor, "m d"]:
        """The dictionary's filters as rows, orbit by orbit."""
        return self.dictionary().flatten(0, -2)

    def forward(
        self, inputs: Float[Tensor, "n d"], filters: Float[Tensor, "m d"] | None = None
    ) -> Unfolding:
        """The codes after T layers, and what they add up to.

        ``filters`` solves with other filters than the dictionary's: the truth, say.
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
        """Mean over samples of ``1/2 |x - W^T z|^2 + lambda |z|_1``; there are no targets."""
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


# --- Free filters, what a group is compared with --------------------------------------------------


class Dictionary(nn.Module):
    """A dictionary without a group: so many unit-norm atoms of ``dim`` numbers, each free."""

    def __init__(self, dim: int = 36, atoms: int = 36):
        super().__init__()
        self.base = nn.Parameter(torch.randn(whole("atoms", atoms), dim) / dim**0.5)

    def forward(self) -> Float[Tensor, "m d"]:
        """The atoms, (atoms, dim), each of unit norm."""
        return nn.functional.normalize(self.base, dim=-1)


def pruned_dictionary(
    samples: Float[Tensor, "n d"],
    atoms: int,
    *,
    two_sided: bool = False,
    steps: int = 400,
    seed: int = 0,
) -> Unfolded:
    """An unconstrained dictionary, trained from a random start by annealing and pruning.

    It begins with twice as many atoms and the largest of :data:`SPARSITIES`, in the units of the
    samples. Between stages, atoms that double another or carry little energy are dropped, until
    ``atoms`` are left in the last. A dictionary begun with the right number of atoms would as a
    rule miss some.

    Args:
        steps: of the first stage; each further one has half as many. Default 400.
    """
    last = len(SPARSITIES) - 1
    network: Unfolded | None = None
    for stage, level in enumerate(SPARSITIES):
        count = round(atoms * EXCESS ** (1 - stage / last))
        dictionary = seeded(partial(Dictionary, samples.shape[1], count), seed)
        if network is not None:
            kept = _most_used(network, samples, count)
            with torch.no_grad():
                dictionary.base.copy_(network.filters()[kept])
        network = Unfolded(dictionary, sparsity=level, two_sided=two_sided)
        length = max(steps // 2, 1) if stage else steps
        fit_steps(Reconstructor(network), samples, steps=length, lr=1e-2, seed=seed + stage)
    assert network is not None  # there is a stage
    return network


@torch.no_grad()
def _most_used(network: Unfolded, samples: Float[Tensor, "n d"], count: int) -> list[int]:
    """The atoms of most energy, those that double another put last."""
    atoms = network.filters()
    energy = network(samples[:SAMPLES]).codes.square().mean(0)
    cosines = atoms @ atoms.mT
    kept: list[int] = []
    twins: list[int] = []
    for atom in energy.argsort(descending=True).tolist():
        double = kept and float(cosines[atom, kept].max()) > TWINS
        (twins if double else kept).append(atom)
    return (kept + twins)[:count]
