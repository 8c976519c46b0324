"""What holds generators: exact orders, orthogonality, starts, penalties, and what is refused."""

import pytest
import torch
from helpers import seeded_stream
from hypothesis import assume, given
from hypothesis import strategies as st

from studies.networks import seeded
from symscope.orbits import cyclic
from symscope.orbits.orbits import CONSTRAINTS, CyclicOrbit

EXACT = ("cyclic", "cyclic-general")


def orbit(seed: int = 0, **options) -> CyclicOrbit:
    return seeded(lambda: CyclicOrbit(**{"dim": 9, "order": 4, "sets": 2} | options), seed)


def stirred(made: CyclicOrbit, size: float = 0.3, seed: int = 1) -> CyclicOrbit:
    """The same, every parameter moved, as training would."""
    draw = seeded_stream(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += size * torch.randn(parameter.shape, generator=draw).to(parameter)
    return made


def defects(made: CyclicOrbit, order: int = 0) -> torch.Tensor:
    return cyclic.defect(made.generators.detach().double(), order or made.order)


@pytest.mark.parametrize("constraint", EXACT)
@given(dim=st.integers(1, 24), order=st.integers(1, 16), seed=st.integers(0, 9))
def test_exactly_cyclic_whatever_the_parameters(constraint, dim, order, seed):
    assume(dim > 1 or order <= 2)
    made = orbit(seed, dim=dim, order=order, constraint=constraint)
    # A general basis is moved less: far enough, any square matrix becomes singular.
    made = stirred(made, 0.3 if constraint == "cyclic" else 0.3 / dim)
    assert defects(made).max() < 1e-4
    assert not any((defects(made, m) < 1e-3).any() for m in range(1, order))
    if constraint == "cyclic":
        assert torch.linalg.cond(made.generators.double()).max() < 1 + 1e-4


@pytest.mark.parametrize("constraint", EXACT)
@pytest.mark.parametrize(("dim", "order"), [(36, 6), (64, 12), (49, 24), (27, 36)])
def test_exactly_cyclic_at_the_sizes_of_patches(constraint, dim, order):
    size = 0.1 if constraint == "cyclic" else 0.01
    made = stirred(orbit(dim=dim, order=order, constraint=constraint), size)
    assert defects(made).max() < 1e-4
    assert not any((defects(made, m) < 0.1).any() for m in range(1, order))


def test_orthogonal_stays_orthogonal():
    made = stirred(orbit(constraint="orthogonal"), 1.0)
    generators = made.generators.double()
    eye = torch.eye(9, dtype=torch.float64).expand_as(generators)
    torch.testing.assert_close(generators.mT @ generators, eye, atol=1e-5, rtol=0)
    assert defects(made).min() > 0.1  # and is not held to its order


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_every_constraint_starts_from_the_same_random_matrices_of_order_n(constraint):
    made, free = orbit(constraint=constraint), orbit(constraint="free")
    torch.testing.assert_close(made.generators, free.generators, atol=2e-6, rtol=0)
    torch.testing.assert_close(made.base, free.base)
    assert defects(made).max() < 1e-5
    assert (torch.linalg.matrix_norm(made.generators - torch.eye(9)) > 2).all()
    assert abs(made.penalty().item()) < 1e-8


def test_the_penalty_of_a_general_basis_keeps_its_condition_low():
    made = stirred(orbit(constraint="cyclic-general"), 0.1)
    before = torch.linalg.cond(made.generators.detach())
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        made.penalty().backward()
        optimizer.step()
    assert before.min() > 2 and torch.linalg.cond(made.generators).max() < 1.2
    assert defects(made).max() < 1e-4


def test_penalties_are_what_they_say():
    stretched = torch.diag(torch.tensor([2.0, 1.0, 1.0])).expand(2, 3, 3)
    made = orbit(dim=3, order=2, constraint="penalized")
    made.generators = stretched
    assert made.penalty().item() == pytest.approx(9 / 3)  # A^2 - I has the one entry 3
    made = orbit(dim=2, order=2, constraint="cyclic-general")
    made.generators = torch.tensor([[1.0, 1.0], [0.0, -1.0]]).expand(2, 2, 2)
    assert made.penalty().item() == pytest.approx((3 / 2 - 1) / 100, rel=1e-4)
    for constraint in ("free", "orthogonal", "cyclic"):
        assert stirred(orbit(constraint=constraint), 0.05).penalty().item() == 0


def test_assigned_generators_keep_their_own_frequencies():
    turn = torch.rot90(torch.eye(9).reshape(9, 3, 3), 1, (1, 2)).flatten(1).T
    for constraint in CONSTRAINTS:
        made = orbit(constraint=constraint)
        made.generators = turn.expand(2, 9, 9)
        torch.testing.assert_close(made.generators, turn.expand(2, 9, 9), atol=1e-5, rtol=0)
    for constraint in EXACT:
        made = orbit(constraint=constraint)
        plane = torch.block_diag(cyclic.blocks([1], 4), torch.eye(7)).float()
        made.generators = torch.stack([plane, turn])
        torch.testing.assert_close(made.generators[0], plane, atol=1e-5, rtol=0)
        stirred(made, 0.01)
        values = torch.linalg.eigvals(made.generators[0].detach())
        assert int((values.real > 0.9).sum()) == 7  # six more fixed directions than by default


def test_assigning_what_a_constraint_cannot_hold_is_refused():
    skewed = torch.eye(9) + torch.ones(9, 9).triu(1) / 9
    turn = cyclic.blocks(cyclic.frequencies(9, 4), 4).float()
    general = torch.linalg.solve(skewed, skewed @ turn, left=False).expand(2, 9, 9)
    made = orbit(constraint="cyclic-general")
    made.generators = general
    torch.testing.assert_close(made.generators, general, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="must be orthogonal for this constraint"):
        orbit(constraint="cyclic").generators = general
    for constraint in EXACT:
        with pytest.raises(ValueError, match=r"not of order 4: \|A\^4 - I\| / sqrt\(d\) is"):
            orbit(constraint=constraint).generators = 1.1 * general


def test_an_order_that_the_exactly_cyclic_form_cannot_hold():
    for constraint in EXACT:
        with pytest.raises(ValueError, match="no exactly cyclic 1 x 1 matrix has order 3"):
            orbit(dim=1, order=3, constraint=constraint)
        assert (orbit(dim=1, order=2, constraint=constraint).generators == -1).any()
    assert orbit(dim=1, order=3, constraint="free")().shape == (2, 1, 3, 1)


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint_takes_back_what_it_gives(name):
    held = CONSTRAINTS[name](2, 6, 3)
    start = held.sample(seeded_stream(0))
    assert start.shape == (2, 6, 6) and start.dtype == torch.float64
    assert cyclic.defect(start, 3).max() < 1e-9
    assert torch.equal(start, held.sample(seeded_stream(0)))
    held = held.double()
    torch.testing.assert_close(held(held.right_inverse(start)), start, atol=1e-9, rtol=0)
    assert abs(float(held.penalty(start))) < 1e-9
