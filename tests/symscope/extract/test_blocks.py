"""Blocks of rows: however they came, the same factors."""

import pytest
import torch
from cases import vectors

import symscope as ss
from symscope.extract.blocks import Pulled, Pushed
from symscope.extract.factor import Factor
from symscope.extract.moving import Moving

ACTION = ss.LinearAction(4, copies=2)


def blocks(dtype: torch.dtype = torch.float64, action=ACTION) -> tuple[Pulled, Pushed]:
    """The rows of two outputs of ten samples, as derivatives by inputs and written out."""
    data = vectors(10).to(dtype)
    slopes = torch.stack([data.flip(0), data.square()], 1)
    pulled = Pulled(0, 0, Moving(data, action, "auto"), slopes)
    return pulled, Pushed(0, 0, action.rows(data, slopes))


@pytest.mark.parametrize(("dtype", "off"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
@pytest.mark.parametrize("weighted", [False, True])
def test_both_kinds_leave_the_same_factor(dtype, off, weighted):
    weights = torch.linspace(0.2, 1, 10, dtype=torch.float64) if weighted else None
    found = []
    for block in blocks(dtype):
        found.append(Factor(16))
        block.into(found[-1], weights)
        assert (found[-1].samples, found[-1].rows) == (10, 20)
    scale = float(found[1].gram.abs().max())
    torch.testing.assert_close(found[0].gram, found[1].gram, rtol=off, atol=off * scale)


@pytest.mark.parametrize("many", [False, True])  # more directions than rows are written out for
def test_shares_are_the_rows_of_their_samples(many, monkeypatch):
    if many:
        monkeypatch.setattr("symscope.extract.moving.FEW_DIRECTIONS", 2)
    weights = torch.linspace(0.2, 1, 10, dtype=torch.float64)
    pulled, pushed = blocks()
    spans = [(0, 4), (4, 8), (8, 10)]
    for block in (pulled, pushed):
        factors = [Factor(16) for _ in spans]
        parts = [(*span, factor) for span, factor in zip(spans, factors, strict=True)]
        block.share(parts, weights)
        for (first, last), factor in zip(spans, factors, strict=True):
            rows = (pushed.rows * weights[:, None, None])[first:last].flatten(0, 1)
            torch.testing.assert_close(factor.gram, rows.T @ rows)
            assert (factor.samples, factor.rows) == (last - first, 2 * (last - first))


def test_further_outputs_bring_no_further_samples():
    pulled, _ = blocks()
    factor = Factor(16)
    for first in (0, 2):
        Pulled(0, first, pulled.moved, pulled.cotangents).into(factor)
    assert (factor.samples, factor.rows) == (10, 40)


def test_rows_that_are_not_finite_name_their_sample():
    pulled, pushed = blocks()
    pulled.cotangents[3] = torch.nan
    with pytest.raises(ValueError, match="sample 103 are NaN or infinite .and of 0 more"):
        Pulled(100, 0, pulled.moved, pulled.cotangents).into(Factor(16))
    pushed.values[4:6] = torch.inf
    with pytest.raises(ValueError, match="sample 4 are NaN or infinite .and of 1 more"):
        pushed.into(Factor(16))
