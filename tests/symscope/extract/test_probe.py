"""In which mode derivatives are taken, and what is said of it."""

import pytest
import torch
from cases import (
    ACTION,
    Applied,
    NoForwardMode,
    Plain,
    Sine,
    WrongForwardMode,
    assert_same_gram,
    network,
    published,
    vectors,
)
from torch import nn

import symscope as ss


def test_a_layer_without_forward_mode_is_differentiated_in_reverse_and_the_report_says_so():
    model, data = nn.Sequential(network(20), Applied(NoForwardMode)), vectors(60)
    found = ss.learned_symmetries(model, data, action=ACTION)
    truth = nn.Sequential(network(20), Sine())
    assert_same_gram(found.factor, published(truth, data, ACTION), 1e-12)
    assert found.mode.name == "reverse"
    assert "forward mode cannot run: " in found.mode.reason and found.mode.reason in repr(found)
    with pytest.raises(RuntimeError, match="forward mode cannot run"):
        ss.learned_symmetries(model, data, action=ACTION, mode="forward")


class NegativeFields(ss.LinearAction):
    def fields(self, data, backend="auto"):
        return -super().fields(data, backend)


@pytest.mark.parametrize(
    ("model", "action"),
    [
        (nn.Sequential(network(20), Applied(WrongForwardMode)), ACTION),
        (network(20), NegativeFields(4, copies=2)),
    ],
)
def test_modes_that_disagree_are_an_error_that_names_the_action(model, action):
    with pytest.raises(ValueError, match=r"along LinearAction\(4, .* differ between forward"):
        ss.learned_symmetries(model, vectors(60), action=action)
    assert ss.learned_symmetries(model, vectors(60), action=action, mode="reverse").mode.name == (
        "reverse"
    )


def test_rounding_of_saturated_outputs_is_no_disagreement():
    """Softmax of large logits: derivatives are small differences of large numbers."""
    model = nn.Sequential(nn.Linear(8, 10), nn.Softmax(-1))
    data, random = vectors(60).float(), torch.Generator().manual_seed(0)
    for scale in (3.0, 10.0, 20.0, 30.0, 40.0, 60.0):  # some samples are saturated, some are not
        with torch.no_grad():
            model[0].weight.copy_(torch.randn(10, 8, generator=random) * scale)
        grams = []
        for mode in ("forward", "reverse"):
            found = ss.learned_symmetries(model, data, action=ACTION, mode=mode)
            grams.append(found.factor.gram)
        assert float((grams[0] - grams[1]).norm()) <= 1e-3 * float(grams[1].norm())


def test_fields_of_another_shape_are_refused():
    class Few(ss.LinearAction):
        def fields(self, data, backend="auto"):
            return super().fields(data, backend)[:-1]

    with pytest.raises(ValueError, match=r"fields of LinearAction.* must be of shape \(16, 2, 8\)"):
        ss.learned_symmetries(network(20), vectors(60), action=Few(4, copies=2))


@pytest.mark.parametrize("outputs", [1, 20])
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_mode_that_is_asked_for_is_taken(mode, outputs):
    model, data = network(outputs), vectors(60)
    found = ss.learned_symmetries(model, data, action=ACTION, mode=mode)
    assert found.mode == (mode, "asked for")
    assert_same_gram(found.factor, published(model, data, ACTION), 1e-12)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be one of auto, forward, reverse; got 'back'"):
        ss.learned_symmetries(network(), vectors(60), action=ACTION, mode="back")
    with pytest.raises(ValueError, match=r"needs an action with fields\(\)"):
        ss.learned_symmetries(network(), vectors(60), action=Plain(ACTION), mode="forward")
