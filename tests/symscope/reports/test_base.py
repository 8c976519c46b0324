"""The answer that every report gives from its evidence."""

import pytest
import torch

import symscope as ss
from symscope.extract.evidence import NETWORK, RANDOM, SHUFFLED, Evidence
from symscope.reports.base import ReportBase

ACTION = ss.FieldAction([lambda x: x] * 3)


def evidence(rho):
    made, size = Evidence(len(rho)), torch.tensor(rho, dtype=torch.float64)
    for start, stop, piece in made.spans(64):
        for _ in range(start, stop):
            piece.factors[NETWORK].update(torch.diag(size)[None])
            for kind in (SHUFFLED, RANDOM):
                piece.factors[kind].update(torch.eye(len(rho), dtype=torch.float64)[None])
    return made


def test_the_answer_is_the_decisions():
    found = ReportBase(ACTION, evidence([0.05, 1, 1]))
    assert (found.count, found.level) == (1, "approximate")
    assert found.why() == found.decided().why()
    assert torch.equal(found.relative, found.decided().relative)
    assert torch.equal(found.bound, found.decided().bound)


def test_levels_are_those_asked_for():
    found = ReportBase(ACTION, evidence([0.05, 1, 1]), tolerance=0.01)
    assert found.count == 0 and found.decide(tolerance=0.2).count == 1
    with pytest.raises(ValueError, match="tolerance must be between 0 and 1"):
        found.decide(tolerance=2)


def test_without_evidence_there_is_no_answer():
    found = ReportBase(ACTION, None)
    assert (found.count, found.level, found.decision) == (None, "no evidence", None)
    assert found.why().startswith("no decision")
    with pytest.raises(ValueError, match="no evidence to decide on"):
        found.bound  # noqa: B018
