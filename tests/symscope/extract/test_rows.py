"""Rows: however they came, the same factors; samples that move, and their fields."""

import pytest
import torch
from cases import tuned_to, vectors
from helpers import random

import symscope as ss
from symscope.extract.factor import Factor
from symscope.extract.rows import ForwardRows, Moving, ReverseRows, fields_of

ACTION = ss.LinearAction(4, copies=2)


def both(dtype: torch.dtype = torch.float64, action=ACTION) -> tuple[ReverseRows, ForwardRows]:
    """The rows of two outputs of ten samples, as derivatives by inputs and written out."""
    data = vectors(10).to(dtype)
    slopes = torch.stack([data.flip(0), data.square()], 1)
    pulled = ReverseRows(0, 0, Moving(data, action, "auto"), slopes)
    return pulled, ForwardRows(0, 0, action.rows(data, slopes))


@pytest.mark.parametrize(("dtype", "off"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
@pytest.mark.parametrize("weighted", [False, True])
def test_both_kinds_leave_the_same_factor(dtype, off, weighted):
    weights = torch.linspace(0.2, 1, 10, dtype=torch.float64) if weighted else None
    found = []
    for block in both(dtype):
        found.append(Factor(16))
        block.add_to(found[-1], weights)
        assert (found[-1].samples, found[-1].rows) == (10, 20)
    scale = float(found[1].gram.abs().max())
    torch.testing.assert_close(found[0].gram, found[1].gram, rtol=off, atol=off * scale)


@pytest.mark.parametrize("many", [False, True])  # more directions than rows are written out for
def test_shares_are_the_rows_of_their_samples(many, monkeypatch):
    if many:
        tuned_to(monkeypatch, few_directions=2)
    weights = torch.linspace(0.2, 1, 10, dtype=torch.float64)
    pulled, pushed = both()
    spans = [(0, 4), (4, 8), (8, 10)]
    for block in (pulled, pushed):
        factors = [Factor(16) for _ in spans]
        parts = [(*span, factor) for span, factor in zip(spans, factors, strict=True)]
        block.add_to_pieces(parts, weights)
        for (first, last), factor in zip(spans, factors, strict=True):
            rows = (pushed.rows * weights[:, None, None])[first:last].flatten(0, 1)
            torch.testing.assert_close(factor.gram, rows.T @ rows)
            assert (factor.samples, factor.rows) == (last - first, 2 * (last - first))


def test_further_outputs_bring_no_further_samples():
    pulled, _ = both()
    factor = Factor(16)
    for first in (0, 2):
        ReverseRows(0, first, pulled.moved, pulled.cotangents).add_to(factor)
    assert (factor.samples, factor.rows) == (10, 40)


def test_rows_that_are_not_finite_name_their_sample():
    pulled, pushed = both()
    pulled.cotangents[3] = torch.nan
    with pytest.raises(ValueError, match="sample 103 are NaN or infinite .and of 0 more"):
        ReverseRows(100, 0, pulled.moved, pulled.cotangents).add_to(Factor(16))
    pushed.values[4:6] = torch.inf
    with pytest.raises(ValueError, match="sample 4 are NaN or infinite .and of 1 more"):
        pushed.add_to(Factor(16))


def test_fields_serve_all_rows_of_the_same_samples():
    images = torch.randn(9, 2, 6, 7, generator=torch.Generator().manual_seed(0))
    slopes = torch.randn(9, 3, 2, 6, 7, generator=torch.Generator().manual_seed(1))
    plain, prepared = (Moving(images, ss.PlaneAction("affine"), "auto") for _ in range(2))
    prepared.prepared()
    assert "fields" in vars(prepared)
    torch.testing.assert_close(prepared.rows(slopes), plain.rows(slopes), rtol=1e-4, atol=1e-4)
    # Of more directions than numbers in a sample, fields would be more work.
    few = Moving(vectors(9), ss.LinearAction(4, copies=2), "auto")
    few.prepared()
    assert "fields" not in vars(few)


def test_parts_move_as_the_whole_does():
    data, slopes = vectors(10), vectors(10)[:, None]
    moving = Moving(data, ss.LinearAction(4, copies=2), "auto")
    assert moving.split(10) == [moving]
    parts = moving.split(4)
    assert [len(part) for part in parts] == [4, 4, 2]
    rows = [part.rows(own) for part, own in zip(parts, slopes.split(4), strict=True)]
    torch.testing.assert_close(torch.cat(rows), moving.rows(slopes))


def test_fields_of_another_shape_are_refused():
    class Flat(ss.LinearAction):
        def fields(self, data, backend="auto"):
            return super().fields(data, backend)[:, 0]

    with pytest.raises(ValueError, match="must be of shape .* for each direction; got"):
        fields_of(Flat(4, copies=2), vectors(5), "auto")


def test_given_fields_stay_where_rows_are_cut_into_pieces():
    given, slopes = random(81, 4, 9, dtype=torch.float64), random(4, 1, 9, dtype=torch.float64)
    points = random(4, 9, dtype=torch.float64)
    factor, moved = Factor(81), Moving(points, ss.LinearAction(9), "auto", given)
    ReverseRows(0, 0, moved, slopes).add_to_pieces([(1, 3, factor)], torch.ones(4))
    rows = torch.einsum("ncu,knu->nck", slopes, given)[1:3, 0]
    torch.testing.assert_close(factor.gram, rows.T @ rows)
