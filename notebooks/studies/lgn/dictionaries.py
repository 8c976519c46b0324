"""Free filters, what a group is compared with: a dictionary, and one pruned to few atoms."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from symscope._checks import whole

from ..networks import fit_steps, seeded
from .unfolded import Reconstructor, Unfolded

if TYPE_CHECKING:
    from jaxtyping import Float


_SAMPLES = 4000  # that the use of an atom is judged on
_TWINS = 0.9  # cosine above which two atoms count as one


class Dictionary(nn.Module):
    """A dictionary without a group, the unconstrained baseline: unit-norm atoms, each free.

    Args:
        dim: numbers in an atom; default 36.
        atoms: how many; default 36.
    """

    def __init__(self, dim: int = 36, atoms: int = 36):
        super().__init__()
        whole("dim", dim, 1)
        whole("atoms", atoms, 1)
        self.base = nn.Parameter(torch.randn(atoms, dim) / dim**0.5)

    def forward(self) -> Float[Tensor, "m d"]:
        """The atoms, (atoms, dim), each of unit norm."""
        return nn.functional.normalize(self.base, dim=-1)


def pruned_dictionary(
    samples: Float[Tensor, "n d"],
    atoms: int,
    *,
    two_sided: bool = False,
    sparsity: tuple[float, ...] = (0.3, 0.15, 0.08, 0.05),
    excess: float = 2.0,
    steps: int = 400,
    depth: int = 15,
    seed: int = 0,
) -> Unfolded:
    """An unconstrained dictionary, trained from a random start by annealing and pruning.

    It begins with ``excess`` times as many atoms and the largest sparsity. Between stages, atoms
    that double another or carry little energy are dropped, until ``atoms`` are left in the last.
    A dictionary begun with the right number of atoms would as a rule miss some.

    Args:
        samples: (N, d), N at least 256.
        atoms: in the end.
        two_sided: codes of either sign; default False.
        sparsity: lambda of each stage, in the units of the samples.
        excess: default 2.
        steps: of the first stage; each further one has half as many. Default 400.
        depth, seed: of the network.
    """
    whole("atoms", atoms, 1)
    if excess < 1 or not sparsity:
        raise ValueError(f"excess must be at least 1 and sparsity not empty, got {excess}")
    last = len(sparsity) - 1
    network: Unfolded | None = None
    for stage, level in enumerate(sparsity):
        count = round(atoms * excess ** (1 - stage / last)) if last else atoms
        dictionary = seeded(partial(Dictionary, samples.shape[1], count), seed)
        if network is not None:
            kept = _most_used(network, samples, count)
            with torch.no_grad():
                dictionary.base.copy_(network.filters()[kept])
        network = Unfolded(dictionary, depth, level, two_sided=two_sided)
        length = steps if stage == 0 else max(steps // 2, 1)
        fit_steps(Reconstructor(network), samples, steps=length, lr=1e-2, seed=seed + stage)
    assert network is not None  # there is a stage
    return network


@torch.no_grad()
def _most_used(network: Unfolded, samples: Float[Tensor, "n d"], count: int) -> list[int]:
    """The atoms of most energy, those that double another put last."""
    atoms = network.filters()
    energy = network(samples[:_SAMPLES]).codes.square().mean(0)
    cosines = atoms @ atoms.mT
    kept: list[int] = []
    twins: list[int] = []
    for atom in energy.argsort(descending=True).tolist():
        double = kept and float(cosines[atom, kept].max()) > _TWINS
        (twins if double else kept).append(atom)
    return (kept + twins)[:count]
