"""Groups read off a dictionary's atoms: exact orbits, none, bad input, and from a random start."""

import pytest
import torch

import symscope as ss
from studies.lgn.automorphisms import atom_symmetries, procrustes
from studies.lgn.planted import action_error, orbit_errors, planted_group
from studies.lgn.unfolded import pruned_dictionary


def shuffled_orbits(kind: str, filters: int, seed: int = 0, **options):
    planted = planted_group(kind, filters=filters, samples=100, seed=seed, **options)
    atoms = planted.orbits.flatten(0, 1)
    order = torch.randperm(len(atoms), generator=torch.Generator().manual_seed(seed))
    return planted, atoms[order]


@pytest.mark.parametrize("kind", ["quarter turn", "circular shift", "orthogonal"])
@pytest.mark.parametrize("filters", [2, 7])
def test_exact_orbits_in_any_order_give_the_group(kind, filters):
    planted, atoms = shuffled_orbits(kind, filters)
    best = atom_symmetries(atoms, planted.order)[0]
    assert best.residual < 1e-6
    assert action_error(best.generator, planted) < 1e-6
    assert ss.orbits.cyclic.defect(best.generator, planted.order) < 1e-6
    torch.testing.assert_close(atoms @ best.generator.mT, atoms[best.permutation])
    found = atoms[torch.tensor(best.orbits)][None]
    assert float(orbit_errors(found, planted).max()) < 1e-6


def test_noisy_atoms_still_give_the_group():
    planted, atoms = shuffled_orbits("quarter turn", 9)
    noise = torch.randn(atoms.shape, generator=torch.Generator().manual_seed(1)).double()
    best = atom_symmetries(atoms + 0.004 * noise, 4)[0]
    assert action_error(best.generator, planted) < 0.05


def test_atoms_up_to_sign_give_the_group_up_to_sign():
    planted, atoms = shuffled_orbits("quarter turn", 4, two_sided=True)
    signs = torch.randint(2, (len(atoms), 1), generator=torch.Generator().manual_seed(0)) * 2 - 1
    atoms = atoms * signs
    best = atom_symmetries(torch.cat([atoms, -atoms]), 4)[0]
    assert best.residual < 1e-6 and action_error(best.generator, planted) < 1e-6


def test_random_atoms_have_no_symmetry():
    atoms = torch.randn(24, 36, generator=torch.Generator().manual_seed(0))
    atoms = torch.nn.functional.normalize(atoms, dim=1)
    assert all(found.residual > 0.1 for found in atom_symmetries(atoms, 4))
    assert min(found.residual for found in atom_symmetries(atoms, 4, cycles_only=False)) > 0.1


def test_order_1_is_the_identity():
    atoms = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    best = atom_symmetries(atoms, 1)[0]
    torch.testing.assert_close(best.generator, torch.eye(9).double())


def test_a_rotation_is_the_identity_where_the_rows_say_nothing():
    rows = torch.eye(6).double()[:2]
    quarter = torch.tensor([[0.0, 1], [-1, 0]])
    turned = rows @ torch.block_diag(quarter, torch.eye(4)).double()
    found = procrustes(rows, turned)
    torch.testing.assert_close(rows @ found.mT, turned)
    torch.testing.assert_close(found[2:, 2:], torch.eye(4).double())


def test_a_planted_group_is_found_from_a_random_start():
    planted = planted_group("quarter turn", patch=4, filters=3, samples=4000, noise=0.02)
    network = pruned_dictionary(planted.samples, 12, steps=300)
    best = atom_symmetries(network.filters(), 4)[0]
    assert network.filters().shape == (12, 16)
    assert action_error(best.generator, planted) < 0.05


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: atom_symmetries(torch.eye(4), 0), "order must be"),
        (lambda: atom_symmetries(torch.ones(4), 2), r"atoms must be \(m, d\)"),
        (lambda: atom_symmetries(torch.ones(0, 4), 2), r"atoms must be \(m, d\)"),
    ],
)
def test_bad_input_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
