"""Planted groups: what they are, and errors that know the freedom there is."""

import math

import pytest
import torch

from studies.lgn import planted
from studies.lgn.planted import action_error, orbit_errors, planted_group
from studies.lgn.unfolded import Reconstructor, Unfolded
from studies.networks import fit_steps, seeded
from symscope.orbits.cyclic import defect, random_orthogonal, small_rotations
from symscope.orbits.orbits import CyclicOrbit

ORDERS = {"quarter turn": 4, "circular shift": 6, "plane rotation": 5, "orthogonal": 5}


def plant(kind: str, **options) -> planted.Planted:
    return planted_group(kind, **{"order": 5, "filters": 2, "samples": 300} | options)


@pytest.mark.parametrize("kind", planted.KINDS)
@pytest.mark.parametrize("two_sided", [False, True])
def test_planted_samples_are_made_by_the_group(kind, two_sided):
    data = plant(kind, two_sided=two_sided)
    n = ORDERS[kind]
    assert data.order == n and data.samples.shape == (300, 36) and data.codes.shape == (300, 2, n)
    assert defect(data.generator, n) < 1e-12
    assert min(float(defect(data.generator, m)) for m in range(1, n)) > 0.1
    eye = torch.eye(36, dtype=torch.float64)
    torch.testing.assert_close(data.generator.T @ data.generator, eye, atol=1e-12, rtol=0)
    torch.testing.assert_close(data.filters.norm(dim=1), torch.ones(2).double())
    made = sum(
        data.codes[:, k, i, None].double()
        * (torch.linalg.matrix_power(data.generator, i) @ data.filters[k])
        for k in range(2)
        for i in range(n)
    )
    torch.testing.assert_close(data.samples.double(), made, atol=1e-5, rtol=0)
    assert ((data.codes != 0).sum((1, 2)) == 2).all()
    sizes = data.codes[data.codes != 0]
    assert 0.5 <= sizes.abs().min() < 0.52 and 1.48 < sizes.abs().max() <= 1.5
    assert (0.4 < (sizes < 0).double().mean() < 0.6) if two_sided else sizes.min() > 0
    used = (data.codes != 0).double().mean(0) * n
    torch.testing.assert_close(used, torch.ones(2, n).double(), atol=0.4, rtol=0)


def test_planted_kinds_are_what_they_are_called():
    patch = torch.arange(36.0, dtype=torch.float64).reshape(6, 6)
    turned = plant("quarter turn").generator @ patch.flatten()
    assert torch.equal(turned.reshape(6, 6), torch.rot90(patch))
    rolled = plant("circular shift").generator @ patch.flatten()
    assert torch.equal(rolled.reshape(6, 6), patch.roll(1, 1))
    plane = plant("plane rotation")
    values = torch.linalg.eigvals(plane.generator)
    assert int((values.real > 1 - 1e-9).sum()) == 34
    assert values.angle().max().item() == pytest.approx(2 * math.pi / 5)
    assert int(torch.linalg.matrix_rank(plane.orbits.reshape(-1, 36), rtol=1e-9)) == 2


def test_planted_structures_are_what_they_are_called():
    skew, stripes = plant("skew"), plant("toeplitz")
    assert skew.order == 4 and defect(skew.generator, 4) < 1e-10
    assert defect(skew.generator, 2) == pytest.approx(2)
    torch.testing.assert_close(skew.generator, -skew.generator.T)
    assert torch.equal(stripes.generator[1:, 1:], stripes.generator[:-1, :-1])
    assert stripes.generator.unique().numel() == 71
    for data in (skew, stripes):
        torch.testing.assert_close(data.orbits.norm(dim=2), torch.ones(2, data.order).double())
        step = torch.einsum("de,kne->knd", data.generator, data.orbits[:, :-1])
        step = torch.nn.functional.normalize(step, dim=2)
        torch.testing.assert_close(step, data.orbits[:, 1:])


def test_planted_noise_has_the_size_asked_for():
    clean, noisy = plant("orthogonal"), plant("orthogonal", noise=0.2)
    assert (noisy.samples - clean.samples).std().item() == pytest.approx(0.2, rel=0.03)


def test_planted_data_repeat_by_seed_and_leave_torchs_stream_alone():
    state = torch.get_rng_state()
    a, b, c = plant("orthogonal", seed=3), plant("orthogonal", seed=3), plant("orthogonal", seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    for x, y in zip(a[:2] + a[3:5], b[:2] + b[3:5], strict=True):
        assert torch.equal(x, y)
    for x, y in zip(a[:2] + a[3:5], c[:2] + c[3:5], strict=True):
        assert not torch.allclose(x, y)


@pytest.mark.parametrize("kind", planted.KINDS)
def test_the_action_error_knows_the_freedom_there_is(kind):
    data = plant(kind)
    a, n = data.generator, data.order
    random = random_orthogonal(1, 36, torch.Generator().manual_seed(9))[0]
    assert action_error(a, data) < 1e-9
    assert action_error(a.T.float(), data) < 1e-5  # the inverse is a coprime power
    assert action_error(-a, data) > 0.1 and action_error(-a, data._replace(two_sided=True)) < 1e-9
    assert 1 < action_error(random, data) < 1.6
    assert action_error(1.1 * a, data) == pytest.approx(0.1)
    assert action_error(torch.linalg.matrix_power(a, n), data) > 0.5  # the identity is no answer
    span = torch.linalg.pinv(data.orbits.reshape(-1, 36)) @ data.orbits.reshape(-1, 36)
    off = torch.eye(36, dtype=torch.float64) - span
    assert action_error(a @ span + random @ off, data) < 1e-9
    if n == 4:
        assert action_error(a @ a, data) > 0.5  # 2 and 4 have a factor in common


@pytest.mark.parametrize("kind", planted.KINDS)
def test_orbit_errors_know_the_freedom_there_is(kind):
    data = plant(kind)
    n, truth = data.order, data.orbits
    order = [(2 + (n - 1) * i) % n for i in range(n)]  # another start, backwards
    found = truth.flip(0)[:, order][:, None].float()  # (J, K, n, d), in sets of one
    assert orbit_errors(found, data).max() < 1e-6
    one = torch.cat([truth[:1], truth[:1]])[:, None]
    errors = orbit_errors(one, data)
    assert errors[0] < 1e-9 and errors[1] > 0.1
    if kind != "plane rotation":  # there, turned half round, they are near
        shuffled = found[:, :, [0, 2, 1, *range(3, n)]]
        assert orbit_errors(shuffled, data).min() > 0.5
        assert orbit_errors(-found, data).min() > 0.5
    assert orbit_errors(-found, data._replace(two_sided=True)).max() < 1e-6


def test_a_planted_plane_rotation_is_recovered_from_far_away():
    data = planted_group("plane rotation")

    def build() -> Reconstructor:
        orbit = CyclicOrbit(36, 4, sets=1, constraint="orthogonal")
        orbit.generators = small_rotations(1, 36, 0.4).float()
        return Reconstructor(Unfolded(orbit, sparsity=0.1, two_sided=False))

    head = seeded(build, 0)
    orbit = head.network.dictionary
    assert action_error(orbit.generators[0], data) > 0.9
    fit_steps(head, data.samples, steps=1_000)
    assert action_error(orbit.generators[0], data) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "order must be a whole number of at least 1, got 0"),
        ({"filters": 0}, "filters must be a whole number of at least 1, got 0"),
        ({"samples": 0}, "samples must be a whole number of at least 1, got 0"),
        ({"patch": 1}, "patch must be a whole number of at least 2, got 1"),
        ({"active": 11}, "active must be at most 10 codes a sample, got 11"),
        ({"noise": -0.1}, "noise must be a finite number at least 0, got -0.1"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
    ],
)
def test_planted_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        plant("orthogonal", **options)


def test_planted_kinds_that_there_are_not():
    with pytest.raises(ValueError, match="kind must be one of quarter turn, .*; got 'flip'"):
        plant("flip")
    with pytest.raises(ValueError, match="patch must be even for a skew generator, got 5"):
        plant("skew", patch=5)
    with pytest.raises(ValueError, match=r"orbits must be \(J, K, 5, 36\), got \(1, 1, 4, 36\)"):
        orbit_errors(torch.zeros(1, 1, 4, 36), plant("orthogonal"))
