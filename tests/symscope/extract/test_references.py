"""What a network's rows are compared with."""

import pytest
import torch

import symscope as ss
from symscope.extract.differentiation import Differentiation, Mode
from symscope.extract.evidence import (
    ALIKE,
    COMMON,
    MOVED,
    NETWORK,
    RANDOM,
    SHUFFLED,
    SHUFFLED_AGAIN,
)
from symscope.extract.network import Network, Outputs
from symscope.extract.references import CommonMotion, References, combined_gradients
from symscope.extract.rows import Moving
from symscope.extract.tuned import TUNED

ACTION = ss.LinearAction(3)


def referred(gradients, inputs):
    moved = {SHUFFLED: inputs.roll(1, 0), SHUFFLED_AGAIN: inputs.roll(2, 0)}
    return References(0).of(gradients, moving(inputs, **moved), 0)


def moving(inputs, **others):
    others = {ALIKE: torch.zeros_like(inputs), **others}
    return {kind: Moving(x, ACTION, "auto") for kind, x in {NETWORK: inputs, **others}.items()}


def drawn(n, *shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=draw, dtype=torch.float64)


def test_long_gradients_and_long_steps_are_cut_to_the_quantile():
    inputs, gradients = drawn(400, 3), drawn(400, 1, 3, seed=1)
    weights = referred(gradients, inputs).weights[NETWORK]
    # For one vector a sample, random signs give the norm of a step exactly.
    slope, step = gradients.flatten(1).norm(dim=1), inputs.norm(dim=1)
    cut = torch.stack([(torch.quantile(v, TUNED.quantile) / v).clamp(max=1) for v in (slope, step)])
    torch.testing.assert_close(weights, cut.prod(0))


def test_random_gradients_are_as_long_as_the_networks_own():
    inputs, gradients = drawn(20_000, 3), drawn(20_000, 1, 3, seed=1)
    movement = referred(gradients, inputs).common
    own = gradients.square().sum()
    assert float(movement.cotangents.square().sum()) == pytest.approx(float(own), rel=0.02)
    mean = movement.cotangents.sum((0, 1)) / movement.cotangents.abs().sum((0, 1))
    assert mean.abs().max() < 0.05  # and point nowhere


def test_random_gradients_follow_the_units_of_the_data():
    # Inputs a hundred times as large have gradients a hundredth as long.
    sizes = torch.tensor([100.0, 1, 1], dtype=torch.float64)
    inputs, gradients = drawn(5000, 3) * sizes, drawn(5000, 1, 3, seed=1) / sizes
    movement = referred(gradients, inputs).common.cotangents
    lengths = movement.square().mean((0, 1)).sqrt() * sizes
    assert float(lengths.max() / lengths.min()) < 1.25


def test_an_ignored_input_still_has_random_gradients():
    gradients = drawn(500, 1, 3, seed=1)
    gradients[..., 2] = 0
    movement = referred(gradients, drawn(500, 3)).common.cotangents
    lengths = movement.square().mean((0, 1)).sqrt()
    assert float(lengths.max() / lengths.min()) < 1.2


def test_limits_are_those_of_the_first_samples_however_they_come():
    inputs, gradients = drawn(600, 3), drawn(600, 1, 3, seed=1)
    whole, parts = References(0), References(0)
    whole.of(gradients[:300], moving(inputs[:300]), 0)
    for start in range(0, 300, 10):
        parts.of(gradients[start : start + 10], moving(inputs[start : start + 10]), start)
    late = inputs[300:], gradients[300:]
    one, other = (r.of(late[1], moving(late[0]), 300).weights[NETWORK] for r in (whole, parts))
    torch.testing.assert_close(one, other, rtol=0.2, atol=0)
    assert set(whole.of(late[1], moving(late[0]), 0).weights) == {
        NETWORK,
        ALIKE,
        RANDOM,
        COMMON,
        MOVED,
    }


POINTS = ss.PointAction(2)
BENT = ss.FieldAction([lambda x: x * x, lambda x: 3 + 0 * x])


@pytest.mark.parametrize(("action", "shape"), [(ACTION, (3,)), (POINTS, (5, 2)), (BENT, (2,))])
def test_the_common_motion_is_the_mean_of_all(action, shape):
    inputs = drawn(256, *shape) + 2
    found = CommonMotion().of(Moving(inputs, action, "auto"))
    mean = action.fields(inputs).mean(1, keepdim=True)
    torch.testing.assert_close(found.fields, mean.expand_as(found.fields), rtol=0.02, atol=0.02)
    for part in found.split(100):
        torch.testing.assert_close(part.fields, found.fields[:, : len(part)])
    slopes = drawn(256, 1, *shape, seed=1)
    rows = found.rows(slopes)
    torch.testing.assert_close(
        rows, torch.einsum("ncu,knu->nck", slopes.flatten(2), found.fields.flatten(2))
    )


@pytest.mark.parametrize("count", [2, 10, 200])
def test_chance_leaves_no_common_motion_but_shifts_have_theirs(count):
    sizes, shifts = [], POINTS.basis[:, :-1, -1].any(1)
    for seed in range(20):
        found = CommonMotion().of(Moving(drawn(count, 6, 2, seed=seed), POINTS, "auto"))
        torch.testing.assert_close(found.fields[shifts], POINTS.fields(drawn(count, 6, 2))[shifts])
        sizes.append(float(found.fields[~shifts].square().mean()))
    assert sum(sizes) / 20 < 0.3 / count  # of what moves, 1 a coordinate; the mean has 1 / count


@pytest.mark.parametrize("held", [0, 2**19])  # in chunks of 512 samples
def test_combinations_with_random_signs_are_as_long_as_all_gradients_together(held):
    weight = drawn(5, 3, seed=2)

    def function(x):
        return x @ weight.T

    inputs, draw = drawn(4000, 3), torch.Generator().manual_seed(0)
    how = Differentiation(ACTION, "auto", Mode("reverse", ""), 5, held=held)
    network = Network(function, Outputs())
    first, second = combined_gradients(network, how, inputs, [2, 3], draw)
    assert len(first) == len(second) == 4000
    for found, part in ((first, weight[:2]), (second, weight[2:])):
        mean = float(found.square().sum() / len(inputs))
        assert mean == pytest.approx(float(part.square().sum()), rel=0.1)
