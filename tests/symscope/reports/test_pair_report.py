"""What reports on pairs of motions say."""

import pytest
import torch
from cases import frame_network, random_network
from helpers import random

import symscope as ss
from symscope import algebra
from symscope.reports.equivariance import dynamics_symmetries, equivariant_symmetries

DATA = random(1000, 6, dtype=torch.float64)
TWO_VECTORS = ss.LinearAction(3, copies=2)
TURNS = algebra.so(3)


@pytest.fixture(scope="module")
def framed():
    return equivariant_symmetries(frame_network, DATA, action=TWO_VECTORS)


def test_a_redundant_output_is_told_apart_from_symmetries():
    network = random_network(3, 16, 2, 0)

    def redundant(x):
        a, b = network(x).unbind(1)
        return torch.stack([a, b, a - 2 * b], 1)

    found = equivariant_symmetries(redundant, DATA[:, :3], action=ss.LinearAction(3))
    assert found.count == 0
    # B f = 0: each of three rows of B may be any multiple of (1, -2, -1).
    assert len(found.undefined[0]) == 0 and len(found.undefined[1]) == 3
    null = torch.tensor([1, -2, -1], dtype=torch.float64) / 6**0.5
    assert float((found.undefined[1] @ null).norm()) == pytest.approx(3**0.5)
    assert "0 directions of inputs that the data do not show, and 3 of outputs" in found.why()


def test_what_inputs_do_not_show_is_told_apart_from_outputs():
    data = DATA.clone()
    data[:, [2, 5]] = 0  # both vectors in a plane

    def turned(x):
        a, b = x.reshape(-1, 2, 3).unbind(1)
        return a * (1 + (a * b).sum(1, keepdim=True)).sin() + b * a.square().sum(1, keepdim=True)

    found = equivariant_symmetries(turned, data, action=TWO_VECTORS)
    assert len(found.undefined[0]) == 3 and len(found.undefined[1]) == 3
    for unseen in found.undefined:
        assert unseen[:, :, :2].abs().max() < 1e-6
    # The turn of the plane, and whatever leads out of it: (A, A) with A x along the third axis.
    assert found.count == 3
    known = torch.zeros(3, 3, 3, dtype=torch.float64)
    known[0, 0, 1], known[0, 1, 0], known[1, 2, 0], known[2, 2, 1] = 1, -1, 1, 1
    assert float(found.angles_to(known, known).max()) < 1e-5


def test_invariances_are_the_pairs_that_leave_the_outputs_alone():
    # Of two vectors the first turns, of the other the length is all that counts.
    def half(x):
        a, b = x.unflatten(1, (2, 3)).unbind(1)
        return a * (b.norm(dim=1, keepdim=True) + a.norm(dim=1, keepdim=True)).sin()

    found = equivariant_symmetries(half, DATA, action=ss.LinearAction(6))
    assert found.count == 6 and found.degree is None
    still = torch.stack([torch.block_diag(torch.zeros(3, 3), turn) for turn in TURNS])
    assert len(found.invariances) == 3
    assert float(algebra.principal_angles(found.invariances, still).max()) < 1e-5
    assert float(algebra.principal_angles(found.on_outputs, TURNS).max()) < 1e-5
    assert len(found.on_inputs) == 6
    assert "3 of the symmetries leave the outputs alone" in found.why()


def test_a_slow_output_is_no_invariance():
    # Turning moves outputs of unlike size little beside what it moves elsewhere. It moves them.
    data = DATA * torch.logspace(0, 2, 6, dtype=torch.float64)
    found = equivariant_symmetries(frame_network, data, action=TWO_VECTORS)
    assert found.count == 3 and not len(found.invariances)


@pytest.mark.parametrize("degree", [-1.5, 0, 1, 2.5])
def test_the_degree_of_a_homogeneous_map(degree):
    network = random_network(3, 16, 2, 0)

    def homogeneous(x):
        size = x.norm(dim=1, keepdim=True)
        return size**degree * network(x / size)

    found = equivariant_symmetries(homogeneous, DATA[:, :3], action=ss.LinearAction(3))
    assert found.count == 1 and found.degree == pytest.approx(degree, abs=1e-9)
    assert f"homogeneous of degree {found.degree:.3g}" in found.why()
    assert len(found.invariances) == (degree == 0)


def test_a_degree_is_claimed_of_linear_actions_alone():
    images = random(300, 5, 5, dtype=torch.float64)
    found = equivariant_symmetries(
        lambda x: x.square().sum((1, 2)), images, action=ss.PlaneAction("gl2")
    )
    assert found.degree is None


def test_angles_to_known_pairs(framed):
    assert float(framed.angles_to(TURNS, TURNS).max()) < 1e-5
    scaling = algebra.scaling(3)
    assert float(framed.angles_to(scaling, scaling)) > 30


def test_angles_in_the_metric_of_the_data_hardly_depend_on_units(framed):
    units = torch.tensor([1.0, 10, 1], dtype=torch.float64)

    def in_units(x):
        return frame_network(x / units.repeat(2)) * units

    found = equivariant_symmetries(in_units, DATA * units.repeat(2), action=TWO_VECTORS)
    off = TURNS + 0.2 * torch.ones(3, 3, dtype=torch.float64).triu()
    off_in_units = units[:, None] * off / units
    for metric, least, most in (("frobenius", 0.3, 10), ("data", 0, 0.2)):
        one = framed.angles_to(off, off, metric).max()
        other = found.angles_to(off_in_units, off_in_units, metric).max()
        assert least <= abs(other / one - 1) <= most, (metric, one, other)


@pytest.mark.parametrize(
    ("on_inputs", "on_outputs", "options", "says"),
    [
        (TURNS, TURNS[:2], {}, "as many A as B, got 3 and 2"),
        (algebra.so(2), algebra.so(2), {}, r"of the shape \(3, 3\) .* got \(1, 2, 2\)"),
        (TURNS, TURNS, {"metric": "killing"}, "metric must be one of frobenius, data"),
    ],
)
def test_known_pairs_that_do_not_fit_are_refused(framed, on_inputs, on_outputs, options, says):
    with pytest.raises(ValueError, match=says):
        framed.angles_to(on_inputs, on_outputs, **options)


def test_known_generators_outside_of_the_algebra_are_refused():
    class Turns(ss.LinearAction):
        def __init__(self):
            super().__init__(3)
            self.basis = algebra.so(3)

        def rows(self, data, cotangents, backend="auto"):
            rows = super().rows(data, cotangents, backend)
            return rows @ self.basis.flatten(1).T.to(rows)

    found = dynamics_symmetries(lambda x: -x.norm(dim=1)[:, None] * x, DATA[:, :3], action=Turns())
    assert found.count == 3
    with pytest.raises(ValueError, match="must lie in the algebra"):
        found.angles_to(algebra.scaling(3))


def test_generators_and_their_time():
    # x' = |x|^2 x: turning, and scaling by s with time by s^-2.
    found = dynamics_symmetries(
        lambda x: x.square().sum(1, keepdim=True) * x,
        DATA[:, :3],
        action=ss.LinearAction(3),
        time_scaling=True,
    )
    known = torch.cat([TURNS, algebra.scaling(3)])
    assert (
        found.count == 4 and float(algebra.principal_angles(found.symmetries, known).max()) < 1e-5
    )
    size = found.symmetries.diagonal(dim1=1, dim2=2).mean(1)
    torch.testing.assert_close(found.time, -2 * size, atol=1e-9, rtol=0)


def test_what_a_report_says_of_itself(framed):
    assert "3 of 18 directions (exact; relative changes" in repr(framed)
    assert framed.why().startswith("3 of 18 directions are symmetries: exact")
    assert "each direction is a pair (A, B)" in framed.why()
    assert framed.decide(tolerance=0.5).tolerance == 0.5


def test_a_print_says_level_count_rho_and_bound_in_three_lines(framed):
    turning = dynamics_symmetries(lambda x: 2 * x, DATA[:, :2], action=ss.LinearAction(2))
    for found in (framed, turning):
        first, second, third = str(found).splitlines()
        assert first.startswith(f"exact; {found.count} of {len(found.relative)} ")
        rho, bound = (float(each[found.count - 1]) for each in (found.relative, found.bound))
        assert f"a rho of {rho:.2g} (bound {bound:.2g})" in first
        assert second.startswith("Beside them: ") and third.startswith("From 1000 samples")
    few = equivariant_symmetries(frame_network, DATA[:10], action=TWO_VECTORS)
    assert few.count is None and str(few).startswith("too few data: ")
    assert len(str(few).splitlines()) == 3
