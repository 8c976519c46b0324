"""Movements of the plane in image networks: right by construction, and what is refused."""

import copy

import pytest
import torch
from helpers import random

import studies
import symscope as ss
from studies.data import digits
from studies.networks.canonical import CanonicalNetwork, algebra_of
from symscope.algebra import matrices as algebra
from symscope.extract import modes


@pytest.fixture(scope="module")
def images():
    held = digits.mnist(train=200, validation=1, test=1, blur=1.0)
    return held.train.inputs * held.input_std + held.input_mean


CASES = ["none", "rotation", "scaling of y", "translation in x", "translations"]


@pytest.mark.parametrize("invariance", CASES)
def test_what_is_invariant_by_construction_is_found(invariance, images):
    true = algebra_of(invariance)
    found = ss.plane_symmetries(CanonicalNetwork(invariance, 6), images)
    assert found.count == len(true), found.why()
    assert found.level == "none" if not len(true) else found.level in ("exact", "approximate")
    if len(true):
        assert float(algebra.principal_angles(found.span, true).max()) < 3


SMALL = 0.1 + random(64, 9, 9).abs()


def linear(outputs: int = 4, seed: int = 0):
    weights = random(81, outputs, seed=seed)
    return lambda x: (x.flatten(1) @ weights).tanh()


def test_without_a_symmetry_q_is_about_one():
    for seed in range(4):
        found = ss.plane_symmetries(linear(seed=seed), SMALL)
        assert found.count == 0 and found.level == "none"
        assert 0.5 < float(found.q[0]) < 2


def test_units_of_images_and_outputs_do_not_matter():
    network = linear()
    one = ss.plane_symmetries(network, SMALL)
    other = ss.plane_symmetries(lambda x: 50 * network(x / 7 - 3) + 2, 7 * (SMALL + 3))
    torch.testing.assert_close(one.q, other.q, rtol=1e-3, atol=0)


def test_what_softmax_ignores_plays_no_part():
    network = linear()
    shifted = ss.plane_symmetries(lambda x: network(x) + x.sum((1, 2))[:, None], SMALL)
    torch.testing.assert_close(
        shifted.q, ss.plane_symmetries(network, SMALL).q, rtol=1e-3, atol=1e-4
    )


def test_of_one_output_nothing_is_taken_away():
    for network in (linear(1), lambda x: linear(1)(x)[:, 0]):
        assert len(ss.plane_symmetries(network, SMALL).q) == 6


def test_batches_and_channels_are_the_same_question():
    network = linear()
    one = ss.plane_symmetries(network, SMALL, outside=0.0)
    parts = ss.plane_symmetries(network, list(SMALL[:, None].split(20)), outside=0.0)
    torch.testing.assert_close(one.q, parts.q)


def test_beyond_the_border_lies_its_median_unless_told():
    network = linear()
    lifted = ss.plane_symmetries(lambda x: network(x - 5), SMALL + 5)
    torch.testing.assert_close(
        lifted.q, ss.plane_symmetries(network, SMALL).q, rtol=1e-3, atol=1e-4
    )
    assert not torch.allclose(ss.plane_symmetries(network, SMALL, outside=9.0).q, lifted.q)


def test_contrast(images):
    network = linear()
    itself = ss.plane_symmetries(network, SMALL, contrast=network)
    torch.testing.assert_close(itself.contrast.relative, torch.ones(6).double())
    assert itself.learned == 0 and "0 learned" in itself.why()
    turned = CanonicalNetwork("translation in x", 4)
    found = ss.plane_symmetries(turned, images[:60], contrast=CanonicalNetwork("none", 4))
    assert found.learned == 1
    angle = algebra.principal_angles(found.contrasted[:1], algebra_of("translation in x"))
    assert float(angle) < 10


def test_without_contrast():
    found = ss.plane_symmetries(linear(), SMALL, group="gl2")
    assert found.learned is None and found.generators.shape == (4, 2, 2)
    with pytest.raises(ValueError, match="no contrast network was handed in"):
        _ = found.contrasted


def refused(error, says, model=None, images=SMALL, **options):
    with pytest.raises(error, match=says):
        ss.plane_symmetries(model or linear(), images, **options)


def test_bad_input():
    refused(ValueError, r"contrast must have outputs like the model's, \(64, 4\); got \(64, 5\)",
            contrast=linear(5))  # fmt: skip
    refused(ValueError, "group must be one of gl2, affine; got 'so2'", group="so2")
    refused(ValueError, "degrees must be a finite number above 0", degrees=0)
    refused(ValueError, "confidence must be between 0 and 1", confidence=1.0)
    refused(ValueError, "outside must be a finite number", outside=float("nan"))
    refused(TypeError, "contrast must be callable, got int", contrast=3)
    refused(ValueError, "outputs of model never change", model=lambda x: x[:, 0, :3] * 0)
    refused(ValueError, "outputs of model are NaN", model=lambda x: x[:, 0] * float("nan"))
    refused(ValueError, "data is empty", images=[])
    refused(ValueError, "data must be images", images=SMALL[0])
    refused(TypeError, "data must be floating point", images=SMALL.long())


def test_too_few_images_are_an_answer():
    found = ss.plane_symmetries(linear(), SMALL[:3])
    assert found.count is None and found.level == "too few data" and "?" in found.why()


def test_the_model_is_put_back_in_its_mode():
    network = studies.networks.MLP((81, 4)).train()
    ss.plane_symmetries(network, SMALL)
    assert network.training


def test_weights_are_copied_once_whatever_the_batches(monkeypatch):
    entered = []

    def noting(network):
        entered.append(network)
        return modes.running(network)

    monkeypatch.setattr("symscope.reports.plane.running", noting)
    ss.plane_symmetries(linear(), list(SMALL.split(16)), contrast=linear(seed=1))
    assert len(entered) == 2  # the model and its contrast


def smooth(count):
    return torch.nn.functional.interpolate(
        random(count, 1, 3, 3).abs(), (9, 9), mode="bilinear", align_corners=True
    )[:, 0]


@pytest.mark.parametrize(("share", "level"), [(0.9, "none"), (0.97, "none"), (0.997, "few")])
def test_images_at_which_nothing_changes_are_no_evidence(share, level):
    network, pictures = linear(2), smooth(600)
    least = network(pictures).quantile(share, dim=0)
    found = ss.plane_symmetries(lambda x: (network(x) - least).relu(), pictures)
    assert level in found.level and not found.count, found.why()


def test_steps_that_few_images_meet_are_an_answer():
    network, pictures = linear(2), smooth(64)
    least = network(pictures).max() - 0.02
    found = ss.plane_symmetries(lambda x: (network(x) > least).to(x), pictures)
    assert not found.count and found.level in ("none", "too few data")


def test_a_network_of_another_precision_is_told_the_way_out():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(81, 2))
    with pytest.raises(TypeError, match=r"contrast: .* on torch.float64 it does: hand in"):
        ss.plane_symmetries(net, SMALL, contrast=copy.deepcopy(net).double())
