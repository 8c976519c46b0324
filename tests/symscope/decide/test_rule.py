"""The rule that counts symmetries, on evidence chosen by hand and on evidence drawn at random."""

import math

import pytest
import torch

from symscope.decide.decision import RULE
from symscope.decide.rule import decide, reference_metric, relative_within
from symscope.extract.evidence import NETWORK, RANDOM, SHUFFLED, Evidence


def evidence(rho: list[float], samples: int = 320, spread: float = 0.0, seed: int = 0) -> Evidence:
    """Evidence whose directions, turned at random, have exactly these rho but for the spread."""
    draw = torch.Generator().manual_seed(seed)
    size = len(rho)
    turn = torch.linalg.qr(torch.randn(size, size, generator=draw, dtype=torch.float64)).Q
    made = Evidence(size)
    reference = math.sqrt(1 + RULE.kappa**2)
    for start, stop, piece in made.spans(samples):
        n = stop - start
        size_of_piece = (1 + spread * torch.randn(1, generator=draw, dtype=torch.float64)) * n**0.5
        own = torch.diag(torch.tensor(rho, dtype=torch.float64)) @ turn * size_of_piece * reference
        factors = piece.factors
        for _ in range(n):
            factors[NETWORK].update((own / n**0.5)[None])
            factors[SHUFFLED].update(turn[None])
            factors[RANDOM].update(turn[None])
    return made


@pytest.mark.parametrize(
    ("rho", "count", "answer"),
    [
        ([0.05, 1, 1, 1], 1, "approximate"),
        ([0.05, 0.05, 0.05, 1], 3, "approximate"),
        ([0.2, 1, 1, 1], 0, "partial"),  # above the tolerance
        ([0.7, 1, 1, 1], 0, "none"),  # no less than controls may be
        ([0.2, 0.26, 0.33, 0.42], 0, "partial"),  # all, beside an unrelated direction
        ([0.05, 0.14, 0.14, 0.14], 0, "partial"),  # the gap is below three
        ([0.05, 0.16, 0.16, 0.16], 1, "approximate"),
        ([0.01, 0.05, 1, 1], 2, "approximate"),  # the largest gap of two that qualify
        ([0.001, 0.05, 0.3, 1], 1, "approximate"),
        ([0, 0, 1, 1], 2, "exact"),
        ([1e-16, 1e-17, 1, 1], 2, "exact"),  # and no ratio of rounding errors
        ([0, 0, 0, 0], 4, "exact"),  # all: an unrelated direction stands behind the last
        ([1, 1, 1, 1], 0, "none"),
    ],
)
def test_the_rule(rho, count, answer):
    found = decide(evidence(rho))
    assert (found.count, found.level) == (count, answer)
    torch.testing.assert_close(
        found.relative, torch.tensor(rho, dtype=torch.float64), atol=1e-12, rtol=1e-6
    )


def test_all_admissible_answers_are_shown():
    found = decide(evidence([0, 0.05, 1, 1]))
    assert [cut.dimension for cut in found.cuts] == [1, 2]
    assert found.count == 1 and "also admissible: 2" in found.why()


def test_spread_between_pieces_widens_the_bound():
    steady, noisy = (decide(evidence([0.08, 1, 1], spread=s)) for s in (0, 0.5))
    assert float(steady.bound[0]) == pytest.approx(0.08, rel=1e-6)
    assert float(noisy.bound[0]) > 1.1 * float(noisy.relative[0])
    assert noisy.count == 0 and "too few to be sure" in noisy.why()


@pytest.mark.parametrize("rho", [[0.7, 1, 1], [0.5, 0.65, 0.8]])
def test_no_bound_is_computed_that_decides_nothing(rho, monkeypatch):
    def refuse(*_):
        raise AssertionError("a bound was computed")

    monkeypatch.setattr("symscope.decide.rule._Bounds.at", refuse)
    found = decide(evidence(rho))
    assert found.count == 0
    with pytest.raises(AssertionError, match="was computed"):
        found.bound  # noqa: B018


def test_no_bound_is_below_its_rho():
    for seed in range(20):
        found = decide(evidence([0.02, 0.05, 0.3, 0.6, 0.9], spread=1.0, seed=seed))
        assert (found.bound >= found.relative).all()


def test_a_higher_confidence_gives_a_larger_bound():
    held = evidence([0.05, 1, 1], spread=0.3)
    low, high = (decide(held, confidence=c).bound[0] for c in (0.6, 0.99))
    assert low < high


def test_too_few_rows_are_an_answer_of_their_own():
    made = Evidence(9)
    for start, stop, piece in made.spans(12):
        for kind in (NETWORK, SHUFFLED, RANDOM):
            piece.factors[kind].update(torch.randn(stop - start, 1, 9, dtype=torch.float64))
    found = decide(made)
    assert found.count is None and found.level == "too few data"
    assert "12 rows" in found.note and "about 14" in found.note and "? of 9" in found.why()


def test_a_direction_within_coarse_rounding_is_below_resolution():
    made = evidence([0.05, 0.06, 0.12, 0.12])
    noise = torch.eye(4, dtype=torch.float64) * 0.02
    made.rounding.update(noise[None])
    found = decide(made)
    assert found.count is None and found.level == "below resolution"
    assert "use float64" in found.why()


def test_directions_without_movement_are_undefined():
    made = Evidence(3)
    for start, stop, piece in made.spans(64):
        rows = torch.randn(stop - start, 1, 3, dtype=torch.float64)
        rows[..., 2] = rows[..., 0]  # the data move along the sum of the two alone
        for kind in (NETWORK, SHUFFLED, RANDOM):
            piece.factors[kind].update(rows)
    found = decide(made)
    assert len(found.relative) == 2
    expected = torch.tensor([1, 0, -1], dtype=torch.float64) / 2**0.5
    assert abs(float(found.undefined[0] @ expected)) == pytest.approx(1)
    assert "1 more directions are undefined" in found.why()


def test_fewer_than_two_pieces_are_refused():
    made = Evidence(2)
    made.spans(1)
    with pytest.raises(ValueError, match="at least 2 pieces"):
        decide(made)


@pytest.mark.parametrize("true", [0.03, 0.2])
def test_the_bound_covers_the_truth(true):
    """In 95 % of draws at least; a bound without an interval would cover half of them."""
    covered, draws = 0, 120
    for seed in range(draws):
        draw = torch.Generator().manual_seed(seed)
        made = Evidence(3)
        rows = torch.randn(200, 3, 3, generator=draw, dtype=torch.float64)
        for start, stop, piece in made.spans(200):
            own = rows[start:stop, :1] * torch.tensor([true, 1, 1], dtype=torch.float64)
            piece.factors[NETWORK].update(own * (RULE.kappa**2 + 1) ** 0.5)
            piece.factors[SHUFFLED].update(rows[start:stop, 1:2])
            piece.factors[RANDOM].update(rows[start:stop, 2:])
        covered += float(decide(made).bound[0]) >= true
    assert covered >= 0.93 * draws


def test_rho_within_a_span():
    held = evidence([0.1, 0.5, 1])
    found = decide(held)
    span = found.directions[[0, 2]] * torch.tensor([[2.0], [3]])  # of any length
    relative, turned = relative_within(held, span)
    torch.testing.assert_close(relative, torch.tensor([0.1, 1], dtype=torch.float64))
    angle = torch.nn.functional.cosine_similarity(turned[0] @ span, found.directions[0], dim=0)
    assert abs(float(angle)) == pytest.approx(1)


def test_the_metric_is_the_reference_of_one_sample():
    held = evidence([0.1, 0.5, 1])
    inner = reference_metric(held)
    torch.testing.assert_close(inner, (1 + RULE.kappa**2) * torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("rho", "count", "partial"),
    [
        ([0.2, 1, 1, 1], 0, 1),
        ([0.05, 0.2, 1, 1], 1, 2),  # beyond what is counted
        ([0.05, 0.07, 0.13, 0.9], 0, 3),  # some of them within the tolerance, with no gap
        ([0.7, 1, 1, 1], 0, 0),
        ([0.3, 0.35, 0.4, 0.45], 0, 4),
    ],
)
def test_what_stands_out(rho, count, partial):
    found = decide(evidence(rho))
    assert (found.count, found.partial) == (count, partial), found.why()
    assert ("stands out" in found.why()) == (partial > count)


def test_rows_do_not_replace_samples():
    made = Evidence(9)
    for start, stop, piece in made.spans(8):  # of eight samples, whatever their outputs
        for kind in (NETWORK, SHUFFLED, RANDOM):
            piece.factors[kind].update(torch.randn(stop - start, 50, 9, dtype=torch.float64))
    found = decide(made)
    assert (found.count, found.level) == (None, "too few data")
    assert found.note == "8 independent samples for 9 directions"


@pytest.mark.parametrize("copies", [2, 7])
@pytest.mark.parametrize("scattered", [False, True])
def test_copies_in_groups_leave_every_bound_as_it_was(copies, scattered):
    """Rows of all kinds, references too, k times over: what groups do is all that is seen."""
    draw = torch.Generator().manual_seed(0)
    kinds = NETWORK, SHUFFLED, RANDOM
    rows = {kind: torch.randn(150, 1, 4, generator=draw, dtype=torch.float64) for kind in kinds}
    rows[NETWORK][..., 0] *= 0.2

    def decided(places: torch.Tensor, labels: torch.Tensor | None, batch: int):
        made = Evidence(4)
        for first in range(0, len(places), batch):
            some = places[first : first + batch]
            own = None if labels is None else labels[first : first + batch]
            for start, stop, piece in made.spans(len(some), own):
                for kind in kinds:
                    piece.factors[kind].update(rows[kind][some[start:stop]])
        return decide(made)

    once = torch.arange(150)
    many = once.repeat(copies) if scattered else once.repeat_interleave(copies)
    found = decided(many, many, 150 if scattered else 150 * copies)
    torch.testing.assert_close(found.bound, decided(once, None, 150).bound, rtol=1e-6, atol=0)
    assert found.bound.isfinite().any() and found.samples == 150 * copies
