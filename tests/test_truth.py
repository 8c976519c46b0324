"""The rule that counts symmetries against known answers: a few cases of each kind."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def truth():
    sys.path.insert(0, str(FOLDER))  # for the workers, too
    import truth

    yield truth
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def answers(truth):
    return truth.run(truth.jobs(quick=True))  # in processes of their own, without checks of shapes


def test_the_dimension_of_every_exact_function_is_found(answers):
    exact = answers[answers.family == "exact"]
    assert len(exact) >= 50
    wrong = exact[~exact.right.astype(bool)]
    assert wrong.empty, wrong[["name", "true", "found", "answer"]]
    assert (exact.answer == "exact").all() and exact.angle.max() < 0.1


def test_exact_algebras_are_called_by_their_names(answers):
    named = answers[answers.named.notna()]
    assert len(named) >= 40
    assert named.named.all(), named[~named.named.astype(bool)][["name", "names"]]


def test_no_control_has_a_symmetry(answers):
    controls = answers[answers.family == "control"]
    assert len(controls) >= 20 and (controls.found == 0).all()


def test_bounds_cover_the_change_on_twenty_times_the_data(answers):
    broken = answers[answers.family == "broken"]
    assert (broken.bound >= broken.true_rho).all()


def test_other_rules_are_judged_on_the_same_cases(truth, answers):
    shown = truth.table(answers).dropna(subset="shuffled")  # of invariances
    assert len(shown) == 6
    assert (shown["right"] >= shown[["shuffled", "largest_gap", "share"]].max(axis=1)).all()


def test_known_maps_and_systems_are_counted_and_random_ones_have_none(answers):
    pairs = answers[answers.family.isin(["equivariance", "dynamics"])]
    assert len(pairs) >= 35 and (pairs.true == 0).sum() >= 4
    wrong = pairs[pairs.found != pairs.true]
    assert wrong.empty, wrong[["name", "true", "found", "answer"]]
    known = pairs[pairs.true > 0]
    assert (known.answer == "exact").all() and known.angle.max() < 0.1
    assert (pairs[pairs.true == 0].answer == "none").all()


def test_image_networks_by_construction(answers):
    built = answers[answers.family == "image plane"]
    assert list(built.true) == list(built.found) == [0, 1] and built.angle.max() < 3
