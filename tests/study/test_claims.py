"""Claims: stated first, measured once; their verdicts follow and cannot be typed."""

import math

import pytest
import torch
from study_cases import NAN, claim

from symscope.study import claims

# Verdicts


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([4.0], "reproduced"),
        ([4.0, 5.0, 3.0001], "reproduced"),
        ([4.0, 3.0, 5.0], "reproduced in part"),
        ([1.0, 2.0, 5.0], "reproduced in part"),
        ([3.0, 2.0], "not reproduced"),
        ([], "not testable here"),
        ([NAN], "not reproduced"),
        ([4.0, NAN], "reproduced in part"),
        ([math.inf], "reproduced"),
    ],
)
def test_every_seed_must_meet_the_criterion(values, verdict):
    measured = claim().measure(values, scale="quick")
    assert measured.verdict == verdict
    assert measured.scale == "quick" and len(measured.values) == len(values)


def test_the_four_verdicts_are_all_there_are():
    assert claims.VERDICTS == (
        "reproduced",
        "reproduced in part",
        "not reproduced",
        "not testable here",
    )
    assert claim().verdict == "not testable here"


@pytest.mark.parametrize(
    "typed",
    [
        {"verdict": "reproduced"},
        {"values": [4.0]},
        {"controls": {"untrained": [1.0]}},
        {"scale": "paper"},
    ],
)
def test_what_is_measured_cannot_be_typed(typed):
    (name,) = typed
    with pytest.raises(TypeError, match=name):
        claim(**typed)
    for one in (claim(), claim().measure([1.0], scale="quick")):
        with pytest.raises(AttributeError):
            setattr(one, name, typed[name])
        assert one.verdict != "reproduced"


def test_a_criterion_cannot_be_changed_afterwards():
    measured = claim().measure([1.0], scale="quick")
    with pytest.raises(AttributeError, match="criterion"):
        measured.criterion = "> 0"


@pytest.mark.parametrize(
    ("criterion", "met"),
    [
        ("< 2", [1.9]),
        ("<= 2", [1.9, 2.0]),
        ("> 2", [2.1]),
        (">= 2", [2.0, 2.1]),
        ("== 2", [2.0]),
        ("> -1e-3", [1.9, 2.0, 2.1]),
    ],
)
def test_each_comparison(criterion, met):
    for value in (1.9, 2.0, 2.1, NAN):
        verdict = claim(criterion=criterion).measure([value], scale="quick").verdict
        assert verdict == ("reproduced" if value in met else "not reproduced")


@pytest.mark.parametrize(
    ("values", "controls", "verdict"),
    [
        ([9.0], {"untrained": [1.0, 2.0], "shuffled": [1.0]}, "reproduced"),
        ([9.0], {"untrained": [1.0, 2.0], "shuffled": [2.5]}, "reproduced in part"),
        ([9.0], {"untrained": [1.0, 2.1], "shuffled": [1.0]}, "reproduced in part"),
        ([9.0], {"untrained": [NAN]}, "reproduced in part"),
        ([1.0], {"untrained": [1.0]}, "not reproduced"),
        ([], {"untrained": [1.0]}, "not testable here"),
    ],
)
def test_every_control_must_meet_its_own_criterion(values, controls, verdict):
    stated = claim(control_criterion="<= 2")
    assert stated.measure(values, scale="paper", controls=controls).verdict == verdict
    assert stated.controls.keys() == controls.keys()


def test_values_may_be_any_numbers():
    measured = claim().measure(torch.tensor([4.0, 5.0]), scale="quick")
    assert measured.values == (4.0, 5.0)
    assert all(type(value) is float for value in measured.values)


# Stated first, measured once


def test_a_claim_is_measured_once():
    measured = claim("o5-gap").measure([1.0], scale="quick")
    with pytest.raises(ValueError, match="claim 'o5-gap' has been measured already"):
        measured.measure([9.0], scale="quick")
    assert measured.values == (1.0,) and measured.verdict == "not reproduced"


def test_a_measurement_says_at_which_scale():
    # The scale marks a claim as measured: an empty one would let it be measured again.
    with pytest.raises(ValueError, match="scale"):
        claim().measure([1.0], scale="")


@pytest.mark.parametrize(
    "controls", [None, {}, {"untrained": []}, {"untrained": [1.0], "shuffled": []}]
)
def test_a_control_that_was_announced_must_come(controls):
    stated = claim("o5-gap", control_criterion="< 2")
    says = "claim 'o5-gap' was stated with control_criterion='< 2' and measured with controls"
    with pytest.raises(ValueError, match=says):
        stated.measure([9.0], scale="quick", controls=controls)


def test_a_control_that_was_not_announced_is_refused():
    says = r"claim 'gap' was stated with control_criterion=None .* controls .*'untrained'"
    with pytest.raises(ValueError, match=says):
        claim().measure([9.0], scale="quick", controls={"untrained": [1.0]})


def test_a_refused_measurement_leaves_the_claim_as_stated():
    stated = claim()
    with pytest.raises(ValueError, match="control_criterion"):
        stated.measure([9.0], scale="quick", controls={"untrained": [1.0]})
    assert stated == claim()


@pytest.mark.parametrize(
    "bad", [">3", "3", "> three", "", "!= 3", "about 3", "> ", "=> 3", "> nan"]
)
@pytest.mark.parametrize("which", ["criterion", "control_criterion"])
def test_a_criterion_that_cannot_be_read(bad, which):
    says = "a criterion is one of <, <=, >, >=, ==, a space and a number; got " + repr(bad)
    with pytest.raises(ValueError) as caught:
        claim(**{which: bad})
    assert says in str(caught.value)


def test_a_claim_without_a_criterion_is_none():
    with pytest.raises((TypeError, ValueError), match="criterion"):
        claim(criterion=None)


def test_a_record_without_a_verdict_is_judged_anew():
    stored = claim().measure([4.0], scale="quick").stored()
    del stored["verdict"]
    assert claims.restored(stored).verdict == "reproduced"
