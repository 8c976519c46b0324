"""Training by steps: batches, penalties, and NaN that stops it and leaves the last good state."""

import pytest
import torch
from helpers import random
from torch import nn

from studies.lgn.unfolded import Dictionary, Reconstructor, Unfolded
from studies.networks import fit_steps, seeded
from symscope.orbits.cyclic import defect
from symscope.orbits.orbits import CyclicOrbit


def patches(dim: int = 9, atoms: int = 14, **options) -> Unfolded:
    return seeded(lambda: Unfolded(Dictionary(dim, atoms), **options), 0)


def trained(constraint: str = "cyclic", seed: int = 0, **options) -> tuple:
    x = random(600, 9)
    head = seeded(
        lambda: Reconstructor(Unfolded(CyclicOrbit(9, 3, 3, 1, constraint), depth=5, sparsity=0.2)),
        seed,
    )
    return head, x, fit_steps(head, x, **{"steps": 30, "batch_size": 64} | options)


def test_training_lowers_the_objective_and_repeats_itself():
    head, x, losses = trained()
    assert not head.training
    assert losses.shape == (30,)
    fresh = trained(steps=1)
    assert losses[0] == fresh[2][0]
    assert head.loss(x).item() < 0.97 * fresh[0].loss(x).item()
    again, _, same = trained()
    assert torch.equal(same, losses)
    assert torch.equal(again.network.filters(), head.network.filters())
    assert not torch.equal(trained(seed=1)[2], losses)


def test_every_sample_is_seen_once_before_any_is_seen_twice():
    seen = []

    class Recording(Reconstructor):
        def loss(self, inputs, targets=None):
            seen.append((inputs, targets))
            return super().loss(inputs)

    x = random(100, 9)
    head = Recording(patches(depth=1))
    fit_steps(head, x, torch.arange(100), steps=8, batch_size=25)
    for epoch in (seen[:4], seen[4:]):
        assert torch.cat([t for _, t in epoch]).sort().values.tolist() == list(range(100))
    assert all(torch.equal(x[t], inputs) for inputs, t in seen)


def test_the_penalty_is_weighted_and_holds_the_order():
    free, held = (
        defect(trained("penalized", penalty=weight)[0].network.dictionary.generators, 3)
        for weight in (0.0, 10.0)
    )
    assert held.max() < free.min()
    losses = trained("penalized", penalty=1.0)[2]
    assert losses[0] == pytest.approx(float(trained("free")[2][0]))


class Bursting(Reconstructor):
    """Learns as usual until a given step, whose loss is not finite."""

    def __init__(self, network, at: int, gradient_only: bool = False):
        super().__init__(network)
        self.at, self.gradient_only, self.states = at, gradient_only, []

    def loss(self, inputs, targets=None):
        self.states.append({k: v.clone() for k, v in self.state_dict().items()})
        value = super().loss(inputs)
        if len(self.states) < self.at:
            return value
        base = self.network.dictionary.base
        if self.gradient_only:  # a finite value with an infinite slope
            return value + (base - base.detach()).abs().sum().add(0).sqrt()
        return value * float("nan")


@pytest.mark.parametrize("gradient_only", [False, True])
def test_nan_stops_at_once_says_the_step_and_keeps_the_last_good_state(gradient_only):
    head = Bursting(patches(depth=2), 5, gradient_only)
    with pytest.raises(FloatingPointError, match="not finite at step 5 of 20; .* at step 4"):
        fit_steps(head, random(64, 9), steps=20, batch_size=16)
    assert len(head.states) == 5
    assert not head.training
    good, bad = head.states[3], head.states[4]
    kept = head.state_dict()
    weights = "network.dictionary.base"
    assert torch.equal(kept[weights], good[weights])
    assert not torch.equal(kept[weights], bad[weights])
    assert all(torch.isfinite(value).all() for value in kept.values())


def test_nan_in_the_data_leaves_the_network_untouched_at_the_first_step():
    x = random(64, 9)
    x[:, 2] = float("nan")
    network = patches(depth=2)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(FloatingPointError, match="at step 1 of 9.*Lower lr .* NaN in the data"):
        fit_steps(Reconstructor(network), x, steps=9, batch_size=16)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size must be a whole number of at least 1, got 1.5"),
        ({"batch_size": 601}, "inputs must be at least one batch of 601, got 600"),
        ({"lr": 0.0}, "lr must be a finite number above 0, got 0.0"),
        ({"clip": -1.0}, "clip must be a finite number above 0, got -1.0"),
    ],
)
def test_training_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        trained(**options)


def test_a_rate_by_halvings_and_a_projection_after_every_step():
    class Projected(nn.Module):
        """Its loss falls by one a unit; Adam with a constant slope moves by the rate itself."""

        def __init__(self):
            super().__init__()
            self.weight, self.seen = nn.Parameter(torch.zeros(())), []
            self.network = patches(depth=1)

        def loss(self, inputs, targets):
            return -self.weight

        def project(self):
            self.seen.append(float(self.weight.detach()))

    head = Projected()
    head.network.requires_grad_(False)
    fit_steps(head, random(8, 1), steps=16, batch_size=4, lr=0.1, clip=10, schedule="halvings")
    moved = torch.tensor(head.seen).diff(prepend=torch.zeros(1))
    expected = [0.1] * 8 + [0.05] * 4 + [0.025] * 2 + [0.0125] * 2
    torch.testing.assert_close(moved, torch.tensor(expected), rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="schedule must be one of cosine, halvings; got 'linear'"):
        fit_steps(head, random(8, 1), steps=1, batch_size=4, schedule="linear")
