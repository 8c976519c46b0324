"""Positive controls: what is planted has its structure, and the scores find the truth itself."""

import pytest
import torch

from studies.lgn.operations import scores
from studies.lgn.structures import SCORES, recovered, structured
from symscope.orbits.cyclic import defect


@pytest.mark.parametrize("kind", SCORES)
def test_what_is_planted_has_its_structure_and_no_other(kind):
    planted = structured(kind, samples=500, filters=3)
    found = {name: float(value) for name, value in scores(planted.generator, 6).items()}
    assert found[SCORES[kind]] == pytest.approx(1)
    assert all(found[name] < 0.9 for name in SCORES.values() if name != SCORES[kind])
    if kind == "skew":
        assert defect(planted.generator, 4) < 1e-10
        assert defect(planted.generator, 2) == pytest.approx(2)
    assert planted.samples.shape == (500, 36)
    # Each sample is a sum of two of twelve atoms.
    atoms = [planted.filters]
    for _ in range(3):
        atoms.append(atoms[-1] @ planted.generator.mT)
    atoms = torch.nn.functional.normalize(torch.stack(atoms).flatten(0, 1), dim=1)
    residual = torch.linalg.lstsq(atoms.mT, planted.samples.double().mT, driver="gelsd")
    off = atoms.mT @ residual.solution - planted.samples.double().mT
    assert off.abs().max() < 1e-5
    again = structured(kind, samples=500, filters=3)
    assert torch.equal(again.samples, planted.samples)


def test_the_scores_find_the_truth_but_where_filters_alone_have_it():
    found = {kind: recovered(kind, "truth", filters=8, draws=99)["found"] for kind in SCORES}
    assert found["skew"] >= 0.5 and found["toeplitz"] >= 0.5
    # What a pooling matrix makes is pooled, and so is any orbit of such atoms.
    assert found["pooled"] <= 0.2


def test_training_from_near_lowers_the_objective():
    start = recovered("skew", "near", filters=2, steps=1, draws=9)
    found = recovered("skew", "near", filters=2, steps=60, draws=9)
    assert found["objective"] < 0.9 * start["objective"]


def test_what_is_refused():
    with pytest.raises(ValueError, match="kind must be one of skew, toeplitz, pooled"):
        structured("circulant")
    with pytest.raises(ValueError, match="patch must be even for a skew generator, got 5"):
        structured("skew", patch=5)
    with pytest.raises(ValueError, match="start must be one of truth, near, random"):
        recovered("skew", "far")
