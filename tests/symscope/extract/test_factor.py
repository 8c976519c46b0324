"""The triangle: exact, mergeable, and aware of what it cannot see."""

import re
from pathlib import Path

import pytest
import torch
from cases import ACTION, asked, assert_same_gram, network, vectors
from hypothesis import given, settings
from hypothesis import strategies as st

import symscope as ss
from symscope.extract.factor import Factor, Products


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    cuts=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_merge_is_the_factor_of_all_rows_however_they_are_cut(seed, cuts, dtype):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(60, 2, 5, generator=generator, dtype=torch.float64)
    edges = [0, *sorted(cuts), 60]
    parts = []
    for start, stop in zip(edges, edges[1:], strict=False):
        part = Factor(5, dtype)
        part.update(rows[start:stop])
        parts.append(part)
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    backwards = parts[-1]
    for part in parts[-2::-1]:
        backwards = part.merge(backwards)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-13}[dtype]
    flat = rows.flatten(0, 1).to(dtype)
    for factor in (merged, backwards):
        assert (factor.samples, factor.rows) == (60, 120)
        assert_same_gram(factor, flat, tolerance)


def test_small_singular_values_survive_the_stream():
    # A Gram matrix in the same precision would lose what lies below sqrt(eps).
    generator = torch.Generator().manual_seed(3)
    left = torch.linalg.qr(torch.randn(4000, 6, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    singular = torch.logspace(0, -10, 6, dtype=torch.float64)
    factor = Factor(6)
    for block in (left * singular @ right.T).split(333):
        factor.update(block[:, None])
    variance, directions = factor.spectrum()
    torch.testing.assert_close((variance * 4000).sqrt(), singular.flip(0), rtol=1e-4, atol=0)
    assert abs(float(directions[0] @ right[:, -1])) == pytest.approx(1, abs=1e-9)


def test_merged_factors_make_a_report():
    model, data = network(), vectors(400)
    parts = [asked(model, half, ACTION).factor for half in data.split(200)]
    merged = ss.Symmetries(parts[0].merge(parts[1]), ACTION)
    whole = ss.learned_symmetries(model, data, action=ACTION)
    torch.testing.assert_close(merged.liegg.variance, whole.liegg.variance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_float32_factor_knows_what_it_cannot_see(dtype):
    # so(4) is exact here: six variances are zero up to the factor's own rounding.
    def invariant(x):
        return torch.stack([(x**2).sum(1), (x**2).sum(1).sin()], 1)

    data = vectors(600).float()[:, :4]
    found = ss.learned_symmetries(invariant, data, action=ss.LinearAction(4), dtype=dtype)
    floor = {torch.float32: 1.2e-5, torch.float64: 1.5e-10}[dtype]
    assert found.factor.rounding == pytest.approx(floor, rel=0.1)
    assert found.count == 6 and float(found.liegg.relative_variance[5]) < floor


def test_factors_that_do_not_fit_are_not_merged():
    with pytest.raises(ValueError, match="must agree: dimension 4 and 5"):
        Factor(4).merge(Factor(5))
    with pytest.raises(ValueError, match="must agree: dtype torch.float64 and torch.float32"):
        Factor(4).merge(Factor(4, torch.float32))


@pytest.mark.parametrize("samples", [10, 4000])  # fewer than are multiplied at once, and more
def test_products_that_wait_are_rows(samples):
    action = ss.LinearAction(6)
    data, slopes = vectors(samples, seed=1)[:, :6].float(), vectors(samples, seed=2)[:, :6].float()
    written, waiting = Factor(36), Factor(36)
    for x, g in zip(data.split(7), slopes[:, None].split(7), strict=True):
        written.update(action.rows(x.double(), g.double()).to(torch.float32).double())
        waiting.update_products(Products(action, "auto", x, g), len(x))
    direction = torch.linspace(-1, 1, 36, dtype=torch.float64)
    along = waiting.squared(direction)
    torch.testing.assert_close(along, written.squared(direction), rtol=1e-5, atol=0)
    torch.testing.assert_close(along, (waiting.triangle @ direction).square().sum())
    merged = Factor.merge(waiting, written)
    torch.testing.assert_close(merged.gram, 2 * written.gram, rtol=1e-5, atol=1e-5 * samples)
    assert (waiting.samples, waiting.rows) == (written.samples, written.rows)


def test_what_waits_does_not_change_with_the_data():
    factor, x = Factor(36), torch.ones(2, 6)
    factor.update_products(Products(ss.LinearAction(6), "auto", x, torch.ones(2, 1, 6)), 2)
    x.zero_()  # as a loader does that fills one buffer again and again
    assert float(factor.gram.trace()) == 72


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_within_a_span(dtype):
    factor, rows = Factor(16), vectors(90).reshape(45, 1, 16).to(dtype)
    factor.update(rows)
    span = torch.linalg.qr(vectors(16, seed=4)).Q[:, :3]
    along = rows.flatten(0, 1).double() @ span
    torch.testing.assert_close(factor.within(span), along.T @ along)
    values, directions = factor.principal(span)
    torch.testing.assert_close(values, torch.linalg.svdvals(along).flip(0))
    torch.testing.assert_close((along @ directions.T).norm(dim=0), values)


def test_no_kind_of_device_is_named_apart():
    # References are taken in float64 wherever a factor is: a branch for what has none is dead.
    sources = Path(ss.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if re.search("[\"']mps[\"']", path.read_text())] == []
