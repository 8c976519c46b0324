"""The public call: its arguments reach the decision."""

import pytest
import torch

import symscope as ss


def test_levels_of_the_decision_travel_with_the_question():
    data = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    found = ss.learned_symmetries(
        lambda x: x.square().sum(1),
        data,
        action=ss.LinearAction(2),
        tolerance=0.2,
        confidence=0.8,
    )
    assert found.decision.tolerance == found.shuffled.decision.tolerance == 0.2
    assert found.decision.confidence == 0.8
    assert found.controls(data=data)["shuffled"] is found.shuffled


def test_one_sample_leaves_no_evidence():
    found = ss.learned_symmetries(
        lambda x: torch.cat([x, x * x], 1), torch.randn(1, 2), action=ss.LinearAction(2)
    )
    assert found.count is None and found.level == "no evidence"


@pytest.mark.parametrize("name", ["tolerance", "confidence"])
def test_levels_outside_of_0_and_1_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be between 0 and 1"):
        ss.learned_symmetries(
            lambda x: x, torch.randn(9, 2), action=ss.LinearAction(2), **{name: 1.5}
        )
