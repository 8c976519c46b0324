"""Tests of symscope.weights.cyclic and symscope.weights.orbits: exact orders, unit filters, gradients."""

import copy
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from symscope.networks import training
from symscope.weights import cyclic
from symscope.weights.constraints import CONSTRAINTS
from symscope.weights.dictionaries import Dictionary
from symscope.weights.orbits import CyclicOrbit

EXACT = ("cyclic", "cyclic-general")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def orbit(seed: int = 0, **options) -> CyclicOrbit:
    return training.seeded(lambda: CyclicOrbit(**{"dim": 9, "order": 4, "sets": 2} | options), seed)


def stirred(made: CyclicOrbit, size: float = 0.3, seed: int = 1) -> CyclicOrbit:
    """The same, every parameter moved, as training would."""
    draw = seeded(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += size * torch.randn(parameter.shape, generator=draw).to(parameter)
    return made


# Matrices of finite order


@given(dim=st.integers(1, 40), order=st.integers(1, 30))
def test_frequencies_fill_the_dimension_evenly_and_make_the_order(dim, order):
    assume(dim > 1 or order <= 2)
    chosen = cyclic.frequencies(dim, order)
    assert sum(cyclic.block_size(k, order) for k in chosen) == dim
    assert set(chosen) <= set(range(order // 2 + 1))
    counts = [chosen.count(k) for k in range(1, (order + 1) // 2)]  # the plane rotations
    if dim % order == 0:  # whole copies of the regular representation
        assert counts == [dim // order] * len(counts)
        assert chosen.count(0) == dim // order
    assert not counts or max(counts) - min(counts) <= 1
    form = cyclic.blocks(chosen, order)
    orders = [m for m in range(1, order + 1) if cyclic.defect(form, m) < 1e-9]
    assert orders[0] == order or dim < 2


def test_the_regular_representation_is_a_circular_shift():
    form = cyclic.blocks(cyclic.frequencies(6, 6), 6)
    shift = torch.eye(6, dtype=torch.float64).roll(1, 0)
    values = [torch.linalg.eigvals(matrix).angle().sort().values for matrix in (form, shift)]
    # -pi and pi are the same angle.
    values = [torch.where(v < -math.pi + 1e-9, v + 2 * math.pi, v).sort().values for v in values]
    torch.testing.assert_close(*values, atol=1e-9, rtol=0)


@given(dim=st.integers(1, 12), order=st.integers(1, 12), seed=st.integers(0, 99))
def test_normal_form_gives_the_matrix_back(dim, order, seed):
    assume(dim > 1 or order <= 2)
    matrix = cyclic.random_cyclic(1, dim, order, seeded(seed))[0]
    basis, chosen = cyclic.normal_form(matrix, order)
    torch.testing.assert_close(basis @ cyclic.blocks(chosen, order) @ basis.T, matrix)
    torch.testing.assert_close(basis.T @ basis, torch.eye(dim, dtype=torch.float64))
    assert sorted(chosen) == sorted(cyclic.frequencies(dim, order))
    skewed = torch.eye(dim, dtype=torch.float64) + torch.ones(dim, dim).triu(1) / dim
    general = torch.linalg.solve(skewed, skewed @ matrix, left=False)
    basis, chosen = cyclic.normal_form(general, order)
    made = torch.linalg.solve(basis, basis @ cyclic.blocks(chosen, order), left=False)
    torch.testing.assert_close(made, general, atol=1e-8, rtol=0)


def test_haar_matrices_are_orthogonal_and_uniform():
    matrices = cyclic.random_orthogonal(4_000, 3, seeded(0))
    eye = torch.eye(3, dtype=torch.float64).expand_as(matrices)
    torch.testing.assert_close(matrices.mT @ matrices, eye, atol=1e-12, rtol=0)
    # Without its signs the QR factor would have diagonal entries of one sign.
    assert matrices.mean(0).abs().max() < 5 / (3 * 4_000) ** 0.5
    assert 0.45 < (torch.linalg.det(matrices) > 0).double().mean() < 0.55


@given(dim=st.integers(2, 30), distance=st.floats(0.01, 0.5))
def test_small_rotations_are_rotations_at_the_distance_asked_for(dim, distance):
    turn = cyclic.small_rotations(2, dim, distance, seeded(0))
    eye = torch.eye(dim, dtype=torch.float64)
    assert (turn.mT @ turn - eye).abs().max() < 1e-10
    assert (torch.linalg.det(turn) > 0).all()
    found = torch.linalg.matrix_norm(turn - eye) / dim**0.5
    torch.testing.assert_close(found, torch.full((2,), distance).double(), atol=0, rtol=0.06)


def test_defect_and_effective_order_of_known_matrices():
    turn = cyclic.blocks([1], 5)
    assert cyclic.effective_order(turn) == 5
    assert cyclic.effective_order(torch.block_diag(turn, cyclic.blocks([1], 3))) == 15
    assert cyclic.effective_order(torch.eye(4)) == 1
    assert cyclic.effective_order(cyclic.blocks([1], 50)) == 1  # within the tolerance of no turn
    assert cyclic.effective_order(cyclic.blocks([1], 50), tolerance=0.01) == 0
    assert cyclic.effective_order(cyclic.blocks([1], 50), limit=50, tolerance=0.01) == 50
    assert cyclic.effective_order(2 * torch.eye(4)) == 0
    assert float(cyclic.defect(2 * torch.eye(9), 3)) == pytest.approx(7)  # |8 I - I| / 3


# The orbit module


@pytest.mark.parametrize("constraint", EXACT)
@given(dim=st.integers(1, 24), order=st.integers(1, 16), seed=st.integers(0, 9))
def test_exactly_cyclic_whatever_the_parameters(constraint, dim, order, seed):
    assume(dim > 1 or order <= 2)
    made = orbit(seed, dim=dim, order=order, constraint=constraint)
    # A general basis is moved less: far enough, any square matrix becomes singular.
    made = stirred(made, 0.3 if constraint == "cyclic" else 0.3 / dim)
    report = made.report()
    assert report["defect"].max() < 1e-4
    assert (report["effective_order"] == order).all()
    if constraint == "cyclic":
        assert report["condition"].max() < 1 + 1e-4


@pytest.mark.parametrize("constraint", EXACT)
@pytest.mark.parametrize(("dim", "order"), [(36, 6), (64, 12), (49, 24), (27, 36)])
def test_exactly_cyclic_at_the_sizes_of_patches(constraint, dim, order):
    size = 0.1 if constraint == "cyclic" else 0.01
    made = stirred(orbit(dim=dim, order=order, constraint=constraint), size)
    assert made.report()["defect"].max() < 1e-4
    assert (made.report()["effective_order"] == order).all()


def test_orthogonal_stays_orthogonal():
    made = stirred(orbit(constraint="orthogonal"), 1.0)
    generators = made.generators.double()
    eye = torch.eye(9, dtype=torch.float64).expand_as(generators)
    torch.testing.assert_close(generators.mT @ generators, eye, atol=1e-5, rtol=0)
    assert made.report()["defect"].min() > 0.1  # and is not held to its order


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_filters_are_the_unit_powers_of_the_generators_on_the_base(constraint):
    made = stirred(orbit(filters=3, constraint=constraint), 0.05)
    if constraint == "free":  # growth that only a norm for each element holds
        made.generators = 30 * made.generators.detach()
    filters = made()
    assert filters.shape == (2, 3, 4, 9)
    torch.testing.assert_close(filters.norm(dim=-1), torch.ones(2, 3, 4))
    for i in range(4):
        powers = torch.linalg.matrix_power(made.generators.double(), i)
        moved = torch.einsum("jde,jke->jkd", powers, made.base.double())
        expected = moved / moved.norm(dim=-1, keepdim=True)
        torch.testing.assert_close(filters[:, :, i].double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_every_constraint_starts_from_the_same_random_matrices_of_order_n(constraint):
    made, free = orbit(constraint=constraint), orbit(constraint="free")
    torch.testing.assert_close(made.generators, free.generators, atol=2e-6, rtol=0)
    torch.testing.assert_close(made.base, free.base)
    assert made.report()["defect"].max() < 1e-5
    assert (torch.linalg.matrix_norm(made.generators - torch.eye(9)) > 2).all()
    assert abs(made.penalty().item()) < 1e-8


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_gradients_agree_with_differences(constraint):
    made = stirred(orbit(dim=5, order=3, sets=1, filters=2, constraint=constraint).double(), 0.1)
    names = [name for name, _ in made.named_parameters()]
    buffers = dict(made.named_buffers())

    def run(method):
        def call(*values):
            state = dict(zip(names, values, strict=True)) | buffers
            return torch.func.functional_call(
                Calls(made, method), {f"made.{k}": v for k, v in state.items()}, ()
            )

        return call

    values = [value.detach().clone().requires_grad_() for value in made.parameters()]
    assert torch.autograd.gradcheck(run("forward"), values)
    if constraint in ("penalized", "invertible", "inverse", "cyclic-general"):
        assert torch.autograd.gradcheck(run("penalty"), values)
        made.penalty().backward()
        moved = made.parametrizations.generators.original.grad
        assert moved.abs().max() > 0


class Calls(torch.nn.Module):
    """A module whose forward is another one's method."""

    def __init__(self, made: CyclicOrbit, method: str):
        super().__init__()
        self.made, self.method = made, method

    def forward(self):
        return getattr(self.made, self.method)()


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_generators_are_learned(constraint):
    made = orbit(constraint=constraint)
    before = made.generators.detach().clone()
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    made()[..., 0].sum().backward()
    optimizer.step()
    assert (made.generators - before).abs().max() > 1e-3


def test_the_penalty_of_a_general_basis_keeps_its_condition_low():
    made = stirred(orbit(constraint="cyclic-general"), 0.1)
    before = made.report()["condition"]
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        made.penalty().backward()
        optimizer.step()
    assert before.min() > 2 and made.report()["condition"].max() < 1.2
    assert made.report()["defect"].max() < 1e-4


def test_penalties_are_what_they_say():
    stretched = torch.diag(torch.tensor([2.0, 1.0, 1.0])).expand(2, 3, 3)
    made = orbit(dim=3, order=2, constraint="penalized")
    made.generators = stretched
    assert made.penalty().item() == pytest.approx(9 / 3)  # A^2 - I has the one entry 3
    made = orbit(dim=3, order=2, constraint="invertible")
    made.generators = stretched
    assert made.penalty().item() == pytest.approx(math.log(2) ** 2 / 3)
    made.generators = torch.linalg.inv(stretched)
    assert made.penalty().item() == pytest.approx(math.log(2) ** 2 / 3)  # shrinking costs as much
    made = orbit(dim=3, order=2, constraint="inverse")
    made.generators = stretched
    with torch.no_grad():
        made.held.inverses.copy_(torch.linalg.inv(stretched))
        assert made.penalty().item() == pytest.approx(0, abs=1e-12)
        made.held.inverses.copy_(torch.eye(3))
    assert made.penalty().item() == pytest.approx(1 / 3)
    made = orbit(dim=2, order=2, constraint="cyclic-general")
    made.generators = torch.tensor([[1.0, 1.0], [0.0, -1.0]]).expand(2, 2, 2)
    assert made.penalty().item() == pytest.approx((3 / 2 - 1) / 100, rel=1e-4)
    for constraint in ("free", "orthogonal", "cyclic"):
        assert stirred(orbit(constraint=constraint), 0.05).penalty().item() == 0


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_frozen_generators_stay_while_the_base_learns(constraint):
    made = orbit(constraint=constraint)
    assert made.freeze_generators() is made
    before = made.generators.detach().clone()
    optimizer = torch.optim.Adam([p for p in made.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        made()[..., 0].sum().backward()
        optimizer.step()
    assert torch.equal(made.generators, before)
    assert [name for name, p in made.named_parameters() if p.requires_grad] == ["base"]


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


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_copies_and_saved_states_give_the_same_filters(constraint):
    made = stirred(orbit(constraint=constraint), 0.05)
    other = orbit(7, constraint=constraint)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(), made())
    assert torch.equal(copy.deepcopy(made)(), made())


def test_a_drop_in_for_the_weights_of_a_convolution():
    made = orbit(dim=36, order=6, sets=2, filters=2)
    images = torch.randn(3, 1, 14, 14, generator=seeded(0))
    weight = made().reshape(-1, 1, 6, 6)
    found = torch.nn.functional.conv2d(images, weight, stride=2)
    assert found.shape == (3, 24, 5, 5)
    # Channel (j, k, i) in this order: filter i of the orbit of base filter k of set j.
    patch = images[1, 0, 4:10, 2:8].flatten()
    torch.testing.assert_close(found[1, 6 * 3 + 2, 2, 1], patch @ made()[1, 1, 2])
    found.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())


def test_a_dictionary_has_free_unit_atoms():
    atoms = Dictionary(5, 7)
    torch.testing.assert_close(atoms().norm(dim=-1), torch.ones(7))
    torch.testing.assert_close(atoms(), atoms.base / atoms.base.norm(dim=-1, keepdim=True))


# Bad input


@pytest.mark.parametrize("name", ["dim", "order", "sets", "filters"])
@pytest.mark.parametrize("value", [0, -1, 2.0])
def test_sizes_below_one(name, value):
    with pytest.raises(
        ValueError, match=f"{name} must be a whole number of at least 1, got {value}"
    ):
        orbit(**{name: value})


def test_an_order_that_the_exactly_cyclic_form_cannot_hold():
    for constraint in EXACT:
        with pytest.raises(ValueError, match="no exactly cyclic 1 x 1 matrix has order 3"):
            orbit(dim=1, order=3, constraint=constraint)
        assert orbit(dim=1, order=2, constraint=constraint).report()["effective_order"][0] == 2
    assert orbit(dim=1, order=3, constraint="free")().shape == (2, 1, 3, 1)


def test_unknown_constraint_and_backend():
    with pytest.raises(ValueError, match="constraint must be one of free, .*; got 'circular'"):
        orbit(constraint="circular")
    with pytest.raises(ValueError, match="backend must be one of .*; got 'cuda'"):
        orbit(backend="cuda")


@pytest.mark.parametrize("sizes", [{"dim": 0}, {"atoms": 0}])
def test_an_empty_dictionary(sizes):
    with pytest.raises(ValueError, match="must be a whole number of at least 1, got 0"):
        Dictionary(**sizes)
