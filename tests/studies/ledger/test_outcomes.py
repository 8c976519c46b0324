"""The five kinds of outcome: each can come out either way, and more units turn none over."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from studies.ledger import outcomes

NAN = float("nan")
FACTORS = {"depth": "linear", "budget": "log2"}


def like(values: np.ndarray, times: int) -> np.ndarray:
    """So many times the values, with the same mean and the same spread."""
    more = np.tile(values, times)
    middle = values.mean()
    return middle + (more - middle) * values.std(ddof=1) / more.std(ddof=1)


def grid(slope, units: int, noise: float, rng, depths=(1, 2, 3, 4), budgets=(1, 2, 4, 8)) -> dict:
    """A table in which the logarithm changes by ``slope(budget)`` from end to end in depth."""
    cells = list(itertools.product(range(units), depths, budgets))
    value = [
        math.exp(slope(b) * (d - depths[0]) / (depths[-1] - depths[0]) + rng.normal(0, noise))
        for _, d, b in cells
    ]
    unit, depth, budget = zip(*cells, strict=True)
    return {"unit": unit, "depth": depth, "budget": budget, "value": value}


def test_a_printed_number_is_compared_with_one_more_run() -> None:
    """The audit's case: ten runs, a bias of 0.0093 beside a prediction interval by hand."""
    from scipy.stats import t

    rng = np.random.default_rng(0)
    runs = np.exp(rng.normal(math.log(0.0071), 0.3, 10))
    found = outcomes.printed(runs, 0.0093)
    logs = np.log(runs)
    half = t.ppf(0.975, 9) * logs.std(ddof=1) * math.sqrt(1.1)
    ends = np.exp([logs.mean() - half, logs.mean() + half])
    assert found.word == "consistent"
    assert np.allclose([found.own.low, found.own.high], ends)
    assert outcomes.printed(runs, 0.0071 * 5).word == "differs"


def test_a_printed_number_keeps_its_error_rate() -> None:
    """Of true ones few differ, about one in twenty."""
    rng = np.random.default_rng(1)
    runs = np.exp(rng.normal(0, 0.5, (400, 5)))
    theirs = np.exp(rng.normal(0, 0.5, 400))
    words = [outcomes.printed(*pair).word for pair in zip(runs, theirs, strict=True)]
    assert 0.01 < words.count("differs") / 400 < 0.09


@pytest.mark.parametrize(
    ("own", "word"),
    [([0.5, 0.52, 0.55], "yes"), ([1.0, 1.01, 0.99], "no"), ([1.5, 1.4, 1.6], "no")],
)
def test_less_than_a_control(own: list[float], word: str) -> None:
    controls = {"untrained": [1.0, 1.0, 1.0]}
    assert outcomes.more_than(own, controls, "amplitude", less=True).word == word


def test_every_control_counts_and_is_paired() -> None:
    own = [1.0, 2.0, 4.0]
    apart = {"half": [0.5, 1.0, 2.0], "same": [1.0, 2.0, 4.0]}
    found = outcomes.more_than(own, apart, "amplitude")
    assert (found.word, found.detail) == ("no", "same")
    assert outcomes.more_than(own, {"half": apart["half"]}, "amplitude").word == "yes"
    assert found.apart["half"].estimate == pytest.approx(2)  # spread by 4, and yet all are doubled


def test_a_difference_inside_what_matters_is_no_effect_however_sure() -> None:
    margin = outcomes.QUANTITIES["agreement"].least
    own = np.linspace(0.999, 1.001, 50) + margin / 2
    assert outcomes.more_than(own, {"free": np.ones(50)}, "agreement").word == "no"


@pytest.mark.parametrize("effect", [0.0, 0.3, 0.9, 1.1, 3.0, -2.0])
@pytest.mark.parametrize("noise", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("kind", ["more than", "printed", "share", "trend"])
def test_more_units_turn_nothing_over(kind: str, effect: float, noise: float) -> None:
    rng = np.random.default_rng(round(100 * (2 + effect + 5 * noise)))
    margin = outcomes.QUANTITIES["amplitude"].margin
    logs = margin * (effect + noise * rng.normal(size=5))
    if kind == "more than":
        ask = lambda v: outcomes.more_than(np.exp(v), {"c": np.ones(len(v))}, "amplitude")  # noqa: E731
        few, many = ask(logs), ask(like(logs, 10))
    elif kind == "printed":
        few, many = (outcomes.printed(np.exp(v), 1.0) for v in (logs, like(logs, 10)))
    elif kind == "share":
        few, many = (outcomes.share(list(logs > margin) * times) for times in (1, 10))
    else:
        ways = (lambda b: margin * effect, lambda b: margin * effect * (b - 3))
        for slope in ways:
            table = grid(slope, 5, noise * margin / 2, rng)
            more = {k: [*v] * 10 for k, v in table.items()}
            more["unit"] = [u + 5 * k for k in range(10) for u in table["unit"]]
            few, many = (outcomes.trend(each, FACTORS, "depth") for each in (table, more))
            assert few.word in (many.word, outcomes.UNDECIDED)
    assert few.word in (many.word, outcomes.UNDECIDED)


@pytest.mark.parametrize(
    ("slope", "word"),
    [
        (lambda b: 0.4, "up"),
        (lambda b: -0.4, "down"),
        (lambda b: 0.0, "none"),
        (lambda b: -0.4 if b < 3 else 0.4, "depends"),  # opposite halves, none on the whole
        (lambda b: -0.8 if b < 3 else 0.3, "depends"),  # opposite halves, down on the whole
        (lambda b: -0.16 if b == 1 else 0.0, "depends"),  # one level only, none on the whole
    ],
)
def test_a_trend_and_what_it_depends_on(slope, word: str) -> None:
    found = outcomes.trend(grid(slope, 5, 0.01, np.random.default_rng(2)), FACTORS, "depth")
    assert found.word == word
    assert set(found.apart) == {f"budget {b}" for b in (1, 2, 4, 8)}
    assert found.detail == ("budget" if word == "depends" else "")


def test_the_slopes_of_a_trend_are_those_of_least_squares() -> None:
    table = grid(lambda b: 0.1 * b, 4, 0.05, np.random.default_rng(3))
    rows = {k: np.array(v) for k, v in table.items()}
    slopes = []
    for unit in range(4):
        at = (rows["unit"] == unit) & (rows["budget"] == 8)
        slopes.append(np.polyfit(rows["depth"][at], np.log(rows["value"][at]), 1)[0] * 3)
    found = outcomes.trend(table, FACTORS, "depth").apart["budget 8"]
    assert math.log(found.estimate) == pytest.approx(np.mean(slopes))


def test_a_share_has_the_exact_interval() -> None:
    from scipy.stats import beta

    found = outcomes.share([1] * 4 + [0] * 6)
    ends = beta.ppf([0.025, 0.975], [4, 5], [7, 6])
    assert np.allclose([found.own.low, found.own.high], ends)
    assert found.word == outcomes.UNDECIDED
    assert outcomes.share([1] * 10).word == "most" and outcomes.share([0] * 10).word == "few"


def test_a_proof_needs_every_case() -> None:
    assert outcomes.proof([1, 1]).word == "follows"
    assert outcomes.proof([1, 0]).word == outcomes.proof([]).word == "fails"


@pytest.mark.parametrize("lost", [2, 3])
def test_units_that_gave_no_number_may_be_those_that_differ(lost: int) -> None:
    own = [0.5] * (5 - lost) + [NAN] * lost
    assert outcomes.more_than(own, {"c": [1.0] * 5}, "amplitude", less=True).word == "undecided"
    assert outcomes.printed(own, 0.5).word == "undecided"
