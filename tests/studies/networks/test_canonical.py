"""Networks that are invariant by construction: to their own movements, and to no other."""

import pytest
import torch

import symscope as ss
from studies.networks.canonical import INVARIANCES, CanonicalNetwork, algebra_of
from symscope.algebra import matrices as algebra


def bumps(count: int = 6) -> torch.Tensor:
    """Smooth asymmetric images that vanish at the border."""
    draw = torch.Generator().manual_seed(1)
    x = torch.linspace(-1, 1, 31, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(x, -x, indexing="xy"), -1)
    centres = 0.5 * torch.rand(count, 4, 1, 1, 2, generator=draw, dtype=torch.float64) - 0.2
    widths = torch.tensor([30.0, 60.0]).double()
    return torch.exp(-((grid - centres) ** 2 * widths).sum(-1)).sum(1)


IMAGES = bumps()
ACTION = ss.PlaneAction("affine")


def moved(matrix: torch.Tensor) -> torch.Tensor:
    return ACTION.flow(IMAGES, matrix, 0.12 * 2**0.5)


@pytest.mark.parametrize("invariance", list(INVARIANCES))
def test_it_ignores_its_own_movements_and_sees_the_others(invariance):
    network = CanonicalNetwork(invariance, outputs=6).double()
    here, own = network(IMAGES), algebra_of(invariance)

    def change(generator: torch.Tensor) -> float:
        return float((network(moved(generator)) - here).norm(dim=1).mean())

    outside = [
        change(h)
        for h in algebra.affine(2)
        if not len(own) or float(algebra.principal_angles(h[None], own)[0]) > 30
    ]
    assert min(outside) > 0.02 * float(here.std())
    assert all(5 * change(h) < min(outside) for h in own)


def test_seeds_and_outputs():
    first, again, other = (CanonicalNetwork("none", 3, seed)(IMAGES.float()) for seed in (1, 1, 2))
    assert first.shape == (6, 3) and torch.equal(first, again) and not torch.equal(first, other)


def test_a_background_is_subtracted():
    with_ink, lifted = (CanonicalNetwork("scaling", 3, background=b).double() for b in (0.0, 0.5))
    torch.testing.assert_close(with_ink(IMAGES), lifted(IMAGES + 0.5))


def test_bad_input():
    with pytest.raises(ValueError, match="invariance must be one of none, rotation.*got 'turning'"):
        CanonicalNetwork("turning")
    with pytest.raises(ValueError, match="outputs must be a whole number of at least 1"):
        CanonicalNetwork("none", 0)
    with pytest.raises(ValueError, match="invariance must be one of"):
        algebra_of("turning")
