"""The rule that counts symmetries against known answers: a few cases of each kind."""

import sys
from pathlib import Path

import pandas
import pytest

from symscope import algebra

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


def test_what_is_said_of_a_name(truth):
    from truth_names import cases, disturbed, verdict

    assert verdict("so(3) + so(2)", ("so(3) + so(2)",), True) == "right"
    assert verdict("so(3) + so(2)", ("so(3) + R",), True) == "vague"
    assert verdict("so(3) + so(2)", ("so(3) + scaling",), True) == "wrong"
    assert verdict("so(2) + so(2)", ("R^3",), True) == "wrong"
    assert verdict("so(3)", ("so(3)",), False) == "not named"
    every = cases()
    assert len(every) >= 36
    for label in ("so(3), spin 2", "e(2,2)"):
        straight, tilted = (disturbed(label, every[label], 10.0, angle) for angle in (0.0, 5.0))
        assert algebra.closure_residual(straight) < 1e-9 < algebra.closure_residual(tilted)


def test_every_constant_is_set_to_other_values_on_tuning_cases_alone(truth):
    from truth_ablation import USED, VALUES, ablated, summarised

    made = [make for make in truth.makers(quick=True) if make.args[-1] % 2 == 0]
    assert {case.half for make in made for case in make()} == {"tuning"}
    some = [made[0], *(make for make in made if make.func in (truth.broken, truth.without))][:4]
    told = summarised(pandas.DataFrame([row for make in some + made[-1:] for row in ablated(make)]))
    assert len(told) == sum(map(len, VALUES.values()))
    assert list(told[told.used].value) == [USED[name] for name in VALUES]


def test_combinations_are_judged_beside_all_outputs_of_the_same_functions(truth):
    from truth_combined import judged, summarised

    (both,) = judged(truth.makers(quick=True)[1])
    found = {mode: summarised(truth.answered([told])) for mode, told in both.items()}
    assert found["combined"]["right"] == found["exact"]["right"] == {"exact": [1, 1]}
    assert found["combined"]["named"] == [1, 1] and "10 outputs" in both["combined"][0].name
