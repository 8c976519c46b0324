"""Networks that others trained, rebuilt from their weights: against what their packages say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from studies import gnina, others

# In eV, by the code of diep 2.0.0 itself, in single precision: a molecule of rock salt by the
# distance of its atoms, in angstrom; and a cluster of these kinds at the points below.
MOLECULE = {2.0: -3.03365, 2.4: -3.66561, 2.8: -3.45348, 4.0: -1.69563}
KINDS = (11, 17, 8, 6, 11)
POINTS = [[0.0, 0, 0], [2.5, 0.1, 0], [0.3, 2.2, 0.4], [-1.1, -1.3, 2.0], [3.1, 2.9, 3.3]]
CLUSTER = -6.63499


def needs(file: Callable[[], Path]) -> pytest.MarkDecorator:
    try:
        there = file().exists()
    except gnina.MissingWeightsError:
        there = False
    return pytest.mark.skipif(not there, reason=gnina.WANTED)


needs_potential, needs_pitch = needs(others.potential_weights), needs(others.pitch_weights)


@needs_potential
def test_the_potential_gives_the_energies_of_its_package() -> None:
    weights = others.potential().weights
    molecule = others.Potential(weights, (11, 17))
    for distance, energy in MOLECULE.items():
        x = torch.tensor([[[0.0, 0, 0], [distance, 0, 0]]]).double()
        assert float(molecule(x)) == pytest.approx(energy, abs=2e-4)
    cluster = others.Potential(weights, KINDS)(torch.tensor([POINTS]).double())
    assert float(cluster) == pytest.approx(CLUSTER, abs=5e-4)


@needs_potential
def test_an_atom_that_is_far_away_changes_nothing() -> None:
    weights, near = others.potential().weights, torch.tensor([POINTS]).double()
    alone = others.Potential(weights, (*KINDS, 8))
    far = [torch.cat([near, torch.full((1, 1, 3), s).double()], 1) for s in (60.0, -60.0)]
    assert torch.allclose(alone(far[0]), alone(far[1]), atol=1e-12)
    closer = torch.cat([near, torch.tensor([[[1.0, -1.5, 0]]]).double()], 1)
    assert (alone(closer) - alone(far[0])).abs() > 0.1


def test_a_triangle_is_drawn_alike_from_every_corner() -> None:
    sides, charges = torch.tensor([3.0, 2.0, 2.5]), torch.tensor([1.0, 2.0, 3.0])
    drawn = others.triangle(sides, charges)
    for order in ([1, 2, 0], [2, 1, 0]):
        assert torch.allclose(others.triangle(sides[order], charges[order]), drawn)
    assert not torch.allclose(others.triangle(sides, charges[[1, 0, 2]]), drawn)


@needs_pitch
def test_the_pitch_network_hears_a_tone_where_it_is() -> None:
    network, first = others.pitch_network()
    pitches = torch.tensor([45.0, 57.0, 69.0, 72.0])  # MIDI; 69 is 440 Hz
    heard = others.heard(network(others.spectra(pitches, seed=0)), first)
    assert (heard - pitches).abs().max() < 0.2  # of a grid of a third of a semitone
    fresh = others.heard(others.fresh_pitch_network(0)(others.spectra(pitches, 0)), first)
    assert (fresh - pitches).abs().max() > 1


def test_the_spectrum_of_a_tone_an_octave_higher_stands_an_octave_higher() -> None:
    low, high = others.spectra(torch.tensor([57.0, 69.0]), seed=0)
    step = int(high.argmax()) - int(low.argmax())
    assert abs(step - others.PER_OCTAVE) <= 1 or abs(step) % others.PER_OCTAVE <= 1


def test_what_moves_up_is_the_difference_of_neighbours() -> None:
    x = torch.randn(3, 40).cumsum(1).cumsum(1)
    up = others.raised(x)
    assert torch.allclose(up[:, 1:-1], (x[:, :-2] - x[:, 2:]) / 2, atol=1e-4)
