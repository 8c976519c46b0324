"""Reports beside an algebra."""

import pytest
import torch

import symscope as ss
from symscope import algebra


def test_compare_puts_reports_beside_an_algebra():
    basis = algebra.so(3)
    points = torch.randn(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = ss.learned_symmetries(lambda x: x.norm(dim=1), points, action=ss.LinearAction(3))
    table = ss.compare({"learned": found, "shuffled": found.shuffled}, basis)
    assert table.loc["learned", "count"] == 3 and table.loc["shuffled", "count"] == 0
    assert table.loc["learned", "gap"] == pytest.approx(float(found.gaps[2]))
    assert table.loc["learned", "angle"] < 0.1 < 10 < table.loc["shuffled", "angle"]
    whole = ss.compare({"learned": found}, algebra.gl(3))  # there is nothing behind all nine
    assert whole["gap"].isna().all() and whole.loc["learned", "angle"] < 1e-6
