"""Claims: stated in a file, with all that is needed; measured once, with what was announced."""

from pathlib import Path

import pytest
import torch
import yaml
from study_cases import NAN, beside, claim

from studies.ledger import claims
from studies.ledger.claims import Claim, Control, load

STATED = {
    "id": "gap",
    "whose": "ours",
    "says": "The gap is wide.",
    "quantity": "gap behind k",
    "unit": "none",
    "criterion": "> 3",
    "threshold": "by judgement",
    "set": "before any run",
    "interval": "log",
}


def written(folder: Path, *stated: dict, **more) -> Path:
    path = folder / "02_vectors.yaml"
    whole = {"theirs": "one network", "ours": "{seeds} seeds", "claims": list(stated)} | more
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return path


# Stated


def test_claims_come_from_a_file(tmp_path):
    control = {"names": ["untrained"], "must": "< 2", "shows": "none without training"}
    more = {"id": "angle", "theirs": "ten networks", "control": control, "printed": 0.5}
    first, second = load(written(tmp_path, STATED, STATED | more))
    assert first == Claim(**STATED, theirs="one network", ours="{seeds} seeds")
    assert second.theirs == "ten networks" and second.printed == 0.5
    assert second.control == Control(("untrained",), "< 2", "none without training")


def refused(folder: Path, *stated: dict, **more) -> str:
    with pytest.raises(ValueError) as caught:
        load(written(folder, *stated, **more))
    assert str(caught.value).startswith("02_vectors.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["whose", "says", "quantity", "unit", "criterion", "threshold", "set", "interval"]
)
def test_a_claim_without_one_of_its_keys(tmp_path, name):
    without = {key: value for key, value in STATED.items() if key != name}
    assert f"claim 'gap' has no {name}" in refused(tmp_path, without)
    assert f"claim 'gap' has no {name}" in refused(tmp_path, STATED | {name: None})


def test_a_claim_without_the_papers_scale(tmp_path):
    assert "claim 'gap' has no theirs" in refused(tmp_path, STATED, theirs=None)


@pytest.mark.parametrize("name", ["says", "quantity", "unit", "threshold"])
def test_a_text_that_is_empty(tmp_path, name):
    assert f"claim 'gap' needs a text for {name}" in refused(tmp_path, STATED | {name: " "})
    assert '"none" if it has none' in refused(tmp_path, STATED | {"unit": ""})


def test_an_unknown_key(tmp_path):
    said = refused(tmp_path, STATED | {"verdict": "reproduced"})
    assert "claim 'gap' has the unknown key verdict; known are control, criterion," in said
    control = {"names": ["a"], "must": "< 1", "shows": "x", "proves": "y"}
    assert "claim 'gap', control has the unknown key proves" in refused(
        tmp_path, STATED | {"control": control}
    )
    assert "must be a mapping with theirs, ours and claims" in refused(tmp_path, STATED, more=1)


@pytest.mark.parametrize("name", ["values", "controls", "scale", "cell"])
def test_what_is_measured_cannot_be_stated(tmp_path, name):
    assert f"unknown key {name}" in refused(tmp_path, STATED | {name: 1})
    with pytest.raises(TypeError, match=name):
        claim(**{name: 1})


def test_two_claims_with_one_id(tmp_path):
    said = refused(tmp_path, STATED, STATED | {"criterion": "> 4"})
    assert said.endswith("states two claims with the same id: gap")


@pytest.mark.parametrize(
    ("name", "bad"), [("whose", "somebody"), ("set", "never"), ("interval", "range")]
)
def test_a_choice_that_is_unknown(tmp_path, name, bad):
    said = refused(tmp_path, STATED | {name: bad})
    assert f"claim 'gap': {name} must be one of" in said and said.endswith(f"got {bad!r}")


@pytest.mark.parametrize("name", ["criterion", "no_effect"])
def test_a_criterion_that_cannot_be_read(tmp_path, name):
    assert "claim 'gap': a criterion is like" in refused(tmp_path, STATED | {name: "large"})


def test_a_control_that_asks_for_nothing(tmp_path):
    bare = {"names": ["untrained"], "shows": "nothing"}
    assert "a control has names, and a must or difference" in refused(
        tmp_path, STATED | {"control": bare}
    )
    assert "control has no shows" in refused(tmp_path, STATED | {"control": {"names": ["a"]}})


def test_terms_that_do_not_fit_together():
    with pytest.raises(ValueError, match="need a one-sided criterion and one of the intervals"):
        claim(criterion="== 3", no_effect="between 2 and 4")
    with pytest.raises(ValueError, match="need a one-sided criterion"):
        claim(interval="share", control=beside("a", difference=True))
    with pytest.raises(ValueError, match="interval must be one of mean, log, fisher"):
        claim(interval="p")
    with pytest.raises(ValueError, match='interval "all" is for checks of our code'):
        claim(interval="all")
    assert claim(interval="all", whose="check").interval == "all"


# Measured


def test_values_may_be_any_numbers():
    measured = claim().measure(torch.tensor([4.0, 5.0]), scale="quick")
    assert measured.values == (4.0, 5.0) and measured.scale == "quick"
    assert all(type(value) is float for value in measured.values)


@pytest.mark.parametrize("name", ["values", "controls", "scale", "criterion"])
def test_what_is_measured_or_stated_cannot_be_changed(name):
    for one in (claim(), claim().measure([1.0], scale="quick")):
        with pytest.raises(AttributeError):
            setattr(one, name, "reproduced")


def test_a_claim_is_measured_once():
    measured = claim("o5-gap").measure([1.0], scale="quick")
    with pytest.raises(ValueError, match="claim 'o5-gap' has been measured already"):
        measured.measure([9.0], scale="quick")
    assert measured.values == (1.0,)


def test_a_measurement_says_at_which_scale():
    # The scale marks a claim as measured: an empty one would let it be measured again.
    with pytest.raises(ValueError, match="scale"):
        claim().measure([1.0], scale="")


@pytest.mark.parametrize(
    "controls", [None, {}, {"untrained": [1.0]}, {"untrained": [], "shuffled": [1.0]}]
)
def test_a_control_that_was_announced_must_come(controls):
    stated = claim("o5-gap", control=beside("untrained", "shuffled"))
    with pytest.raises(
        ValueError, match="'o5-gap' announces the controls untrained, shuffled; got"
    ):
        stated.measure([9.0], scale="quick", controls=controls)
    assert stated == claim("o5-gap", control=beside("untrained", "shuffled"))


def test_a_control_that_was_not_announced_is_refused():
    with pytest.raises(ValueError, match="'gap' announces the controls none; got untrained"):
        claim().measure([9.0], scale="quick", controls={"untrained": [1.0]})


def test_a_notebook_keeps_the_terms_and_what_was_measured():
    stated = claim(control=beside("untrained"), no_effect="between 2 and 4")
    stored = stated.measure([4.0, NAN], scale="quick", controls={"untrained": [1.0]}).stored()
    assert stored["values"] == [4.0, "nan"] and stored["controls"] == {"untrained": [1.0]}
    assert stored["scale"] == "quick" and stored["cell"] == 0
    assert {name: stored[name] for name in ("criterion", "no_effect")} == {
        "criterion": "> 3",
        "no_effect": "between 2 and 4",
    }
    assert stored["control"]["must"] == "<= 2"
    assert "says" not in stored and set(claims.TERMS) <= set(stored)
