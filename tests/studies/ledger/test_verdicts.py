"""Verdicts: which follows from which values, and how often they are wrong by chance."""

import numpy as np
import pytest
from study_cases import NAN, beside, claim

from studies.ledger.verdicts import VERDICTS, judge


def verdict(values, controls=None, **stated) -> str:
    (found,) = judge([claim(**stated).measure(values, scale="quick", controls=controls)])
    return found.verdict


def test_the_six_verdicts_are_all_there_are():
    known = "reproduced, contradicted, no effect, confounded, inconclusive, not testable here"
    assert ", ".join(VERDICTS) == known
    assert judge([claim()])[0].verdict == "not measured yet"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([4.0, 4.1, 4.2], "reproduced"),
        ([4.0, 4.0, 4.0], "reproduced"),
        ([3.1, 4.0, 9.0], "inconclusive"),  # every seed meets it, and yet
        ([2.9, 4.0, 4.1, 4.2, 4.0, 4.1], "reproduced"),  # not every seed, and yet
        ([1.0, 1.1, 1.2], "contradicted"),
        ([4.0, 4.1], "not testable here"),
        ([4.0, 4.1, NAN, 4.2], "reproduced"),
        ([4.0, NAN, NAN, NAN, NAN], "not testable here"),
        ([], "not testable here"),
        ([NAN], "not testable here"),
    ],
)
def test_the_whole_interval_must_meet_the_criterion(values, expected):
    assert verdict(values) == expected


def test_what_was_dropped_is_counted():
    (found,) = judge([claim().measure([4.0, 4.1, NAN, 4.2], scale="quick")])
    assert found.value.units == 3 and found.value.dropped == 1
    (found,) = judge([claim().measure([4.0, NAN], scale="quick")])
    assert found.why == "only 1 of 2 seeds gave a number"


def test_too_many_missing_units_decide_nothing():
    assert verdict([4.0, 4.1, 4.2, 4.3, NAN]) == "reproduced"
    assert verdict([*(4.0 + 0.1 * k for k in range(8)), NAN, NAN]) == "reproduced"
    (found,) = judge([claim().measure([4.0, 4.1, 4.2, NAN, NAN], scale="quick")])
    assert found.verdict == "not testable here" and found.value is not None
    assert found.why == "only 3 of 5 seeds gave a number"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-0.01, 0.0, 0.01], "no effect"),
        ([-0.02, -0.021, -0.022], "no effect"),  # below zero, and as good as none
        ([-0.5, -0.51, -0.52], "reproduced"),
        ([0.5, 0.51, 0.52], "contradicted"),
        ([-0.5, 0.0, 0.5], "inconclusive"),
    ],
)
def test_a_direction_with_a_margin_of_no_effect(values, expected):
    assert verdict(values, criterion="< 0", no_effect="between -0.1 and 0.1") == expected


@pytest.mark.parametrize(
    ("values", "control", "expected"),
    [
        ([9.0, 9.1, 9.2], [1.0, 1.1, 1.2], "reproduced"),
        ([9.0, 9.1, 9.2], [9.0, 8.9, 9.1], "confounded"),
        ([9.0, 9.1, 9.2], [2.5, 2.6, 2.7], "inconclusive"),  # neither one nor the other
        ([9.0, 9.1, 9.2], [1.0, 2.0, 9.0], "inconclusive"),
        ([9.0, 9.1, 9.2], [1.0, NAN, NAN], "inconclusive"),
        ([1.0, 1.1, 1.2], [9.0, 8.9, 9.1], "contradicted"),
    ],
)
def test_the_control_must_do_what_it_must(values, control, expected):
    stated = {"control": beside("untrained")}
    assert verdict(values, {"untrained": control}, **stated) == expected
    both = {"untrained": control, "shuffled": [1.0, 1.1, 1.2]}
    assert verdict(values, both, control=beside("untrained", "shuffled")) == expected


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ([4.0, 9.1, 14.2], "reproduced"),  # each pair 1 apart
        ([5.2, 10.0, 15.3], "confounded"),  # as large
        ([5.1, 4.2, 40.0], "inconclusive"),
    ],
)
def test_a_difference_is_taken_unit_by_unit(control, expected):
    stated = {"control": beside("untrained", must=None, difference=True), "criterion": "> -3"}
    assert verdict([5.0, 10.1, 15.2], {"untrained": control}, **stated) == expected


def test_by_ratios_where_the_values_spread_by_factors():
    stated = {"interval": "log", "criterion": "< 1e9"}
    stated["control"] = beside("a", must=None, difference=True)
    found = judge(
        [claim(**stated).measure([1, 10, 100], scale="quick", controls={"a": [2, 21, 199]})]
    )
    assert found[0].verdict == "reproduced"
    assert found[0].differences["a"].estimate == pytest.approx(0.49, abs=0.01)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1] * 5, "reproduced"), ([1, 1, 1, 1, 2], "inconclusive"), ([2] * 5, "contradicted")]
    + [([1] * 3, "inconclusive"), ([1] * 4 + [NAN] * 5, "not testable here")],
)
def test_a_share_of_units_must_be_most_of_them(values, expected):
    assert verdict(values, criterion="== 1", interval="share") == expected


@pytest.mark.parametrize(
    ("values", "expected"), [([4.0], "reproduced"), ([4.0, 2.0, 9.0], "contradicted")]
)
def test_a_check_asks_every_case(values, expected):
    assert verdict(values, whose="check", interval="all") == expected


def test_a_design_that_cannot_decide_has_no_other_verdict():
    (found,) = judge([claim(untestable="it follows").measure([9.0] * 5, scale="quick")])
    assert found.verdict == "not testable here" and found.why == "it follows"
    assert found.value.estimate == 9.0


# By chance: the ledger's own error rates, 5 seeds


def rates(draw, draws: int = 2000, **stated) -> dict[str, float]:
    """How often each verdict comes."""
    random, found = np.random.default_rng(0), []
    for _ in range(draws):
        values, control = draw(random)
        controls = {"untrained": control} if "control" in stated else None
        found.append(verdict(values, controls, **stated))
    return {each: found.count(each) / draws for each in VERDICTS}


DIRECTION = {"criterion": "< 0"}


def test_without_an_effect_a_direction_is_rarely_reproduced():
    found = rates(lambda random: (random.normal(0, 1, 5), None), **DIRECTION)
    assert found["reproduced"] <= 0.05 and found["contradicted"] <= 0.05
    assert found["inconclusive"] > 0.9
    # Nor with a margin around zero, nor on ratios, nor for a share by the toss of a coin.
    margin = {"no_effect": "between -0.1 and 0.1"}
    assert (
        rates(lambda random: (random.normal(0, 1, 5), None), **DIRECTION | margin)["reproduced"]
        <= 0.05
    )
    ratio = {"criterion": "< 1", "interval": "log"}
    assert rates(lambda random: (random.lognormal(0, 1, 5), None), **ratio)["reproduced"] <= 0.05
    coin = {"criterion": "> 0", "interval": "share"}
    assert rates(lambda random: (random.normal(0, 1, 5), None), **coin)["reproduced"] <= 0.05


def test_the_old_rule_would_have_said_something_of_nothing():
    random = np.random.default_rng(0)
    met = (random.normal(0, 1, (2000, 5)) < 0).any(axis=1)
    assert met.mean() > 0.94  # "reproduced in part", or better


def test_small_effects_are_none_and_large_ones_are_seen():
    margin = DIRECTION | {"no_effect": "between -0.1 and 0.1"}
    none = rates(lambda random: (random.normal(0, 0.03, 5), None), **margin)
    assert none["no effect"] > 0.9
    seen = rates(lambda random: (random.normal(-1, 0.3, 5), None), **margin)
    assert seen["reproduced"] > 0.9


@pytest.mark.parametrize("difference", [False, True])
def test_where_the_control_shows_the_same_the_claim_is_confounded(difference):
    def alike(random):
        seeds = random.normal(-1, 0.3, 5)  # a seed is easy or hard for both
        return seeds + random.normal(0, 0.1, 5), seeds + random.normal(0, 0.1, 5)

    control = beside("untrained", must=None if difference else ">= 0", difference=difference)
    found = rates(alike, control=control, **DIRECTION)
    assert found["confounded"] >= 0.9 and found["reproduced"] <= 0.05


def test_where_the_control_shows_nothing_the_claim_is_reproduced():
    def apart(random):
        return random.normal(-1, 0.2, 5), random.normal(1, 0.2, 5)

    found = rates(apart, control=beside("untrained", must=">= 0", difference=True), **DIRECTION)
    assert found["reproduced"] > 0.9
