"""Functions of the logits, and the units that a symmetry variance is told in."""

import pytest
import torch

import symscope as ss
from studies import measures

ACTION, SO2 = ss.LinearAction(2), ss.algebra.so(2)


@pytest.fixture(scope="module")
def logits() -> torch.Tensor:
    return torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def points() -> torch.Tensor:
    return torch.randn(400, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def nearly_round(x: torch.Tensor) -> torch.Tensor:
    """Three functions of a point, one of which changes as it turns."""
    squared = x.square().sum(1, keepdim=True)
    return torch.cat([squared, squared.sqrt(), 0.1 * x[:, :1]], 1)


def test_summed_does_not_change_with_the_length_of_the_logits(logits):
    torch.testing.assert_close(measures.summed(7 * logits), measures.summed(logits))
    assert measures.summed(logits).shape == (50, 1)
    one_hot = torch.tensor([[0.0, 5.0, 0.0], [3.0, 4.0, 0.0]])
    torch.testing.assert_close(measures.summed(one_hot), torch.tensor([[1.0], [1.4]]))


def test_summed_asks_what_outputs_sum_with_unit_norm_asks():
    options = {"action": ACTION}
    ours = ss.learned_symmetries(nearly_round, points(), outputs=measures.summed, **options)
    same = ss.learned_symmetries(nearly_round, points(), outputs="sum", unit_norm=True, **options)
    torch.testing.assert_close(ours.liegg.variance, same.liegg.variance)


def test_centred_is_what_softmax_sees(logits):
    centred = measures.centred(logits)
    torch.testing.assert_close(centred.softmax(1), logits.softmax(1))
    torch.testing.assert_close(measures.centred(logits + points()[:50, :1]), centred)
    assert torch.equal(measures.every(logits), logits)


def test_versions_say_what_they_are():
    x = points()
    found = ss.learned_symmetries(nearly_round, x, action=ACTION)
    told = measures.versions(found, SO2, nearly_round(x))
    assert all(isinstance(value, float) for value in told.values())
    assert told["raw"] == float(found.liegg.variance[0])
    assert told["relative"] == pytest.approx(told["raw"] / float(found.liegg.variance.mean()))
    spread = sum(float(column.var(correction=0)) for column in nearly_round(x).unbind(1))
    assert told["own_variance"] == pytest.approx(spread)
    assert told["scaled"] == pytest.approx(told["raw"] / spread)
    assert told["ratio"] == pytest.approx(found.against_shuffled(SO2[0]))
    assert told["bias"] == pytest.approx(float(found.liegg.bias_to(SO2)[0])) and told["bias"] < 0.1
    assert told["shuffled_raw"] == float(found.shuffled.liegg.variance[0])
    assert told["shuffled_bias"] == float(found.shuffled.liegg.bias_to(SO2)[0])
    assert told["shuffled_relative"] == float(found.shuffled.liegg.relative_variance[0])


def test_the_size_of_a_function_shows_in_raw_and_nowhere_else():
    x = points()
    both = [
        measures.versions(
            ss.learned_symmetries(lambda x, c=c: c * nearly_round(x), x, action=ACTION),
            SO2,
            c * nearly_round(x),
        )
        for c in (1.0, 10.0)
    ]
    small, large = both
    for name in ("raw", "own_variance", "shuffled_raw"):
        assert large[name] == pytest.approx(100 * small[name])
    for name in ("relative", "scaled", "bias", "ratio", "shuffled_relative", "shuffled_bias"):
        assert large[name] == pytest.approx(small[name])


def test_a_report_without_control_is_refused():
    found = ss.learned_symmetries(nearly_round, points(), action=ACTION)
    alone = ss.Symmetries(found.factor, ACTION)
    with pytest.raises(ValueError, match="no shuffled control"):
        measures.versions(alone, SO2, nearly_round(points()))


def test_compare_puts_reports_beside_an_algebra():
    basis = ss.algebra.so(3)
    points = torch.randn(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = ss.learned_symmetries(lambda x: x.norm(dim=1), points, action=ss.LinearAction(3))
    table = measures.compare({"learned": found, "shuffled": found.shuffled}, basis)
    assert table.loc["learned", "count"] == 3 and table.loc["shuffled", "count"] == 0
    assert table.loc["learned", "gap"] == pytest.approx(float(found.liegg.gaps[2]))
    assert table.loc["learned", "angle"] < 0.1 < 10 < table.loc["shuffled", "angle"]
    # There is nothing behind all nine.
    whole = measures.compare({"learned": found}, ss.algebra.gl(3))
    assert whole["gap"].isna().all() and whole.loc["learned", "angle"] < 1e-6
