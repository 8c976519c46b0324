"""The statements of the papers: their rules in simulated data, their terms, their verdicts."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studies.ledger import outcomes, statements
from studies.ledger.statements import Measurement, Statement

ROOT = Path(__file__).resolve().parents[3]
STATED = statements.load(ROOT / "notebooks" / "statements")
ALL = [m for each in STATED for m in each.measurements]


def units(m: Measurement) -> int:
    """How many units the full run has."""
    return int(m.units.split()[0])


def simulated(m: Measurement, true: bool, rng: np.random.Generator) -> outcomes.Outcome:
    """Data in which what a measurement asks is so, or is not, at the number of units used."""
    n = units(m)
    if m.kind == "share":
        return m.outcome(rng.random(n) < (0.97 if true else 0.03))
    if m.kind == "printed":
        theirs = rng.normal() if true else 12.0
        return m.outcome(m.printed * np.exp(0.2 * (rng.normal(size=n) - theirs)))
    if m.kind == "trend":
        return _grid(m, true, n, rng)
    quantity = outcomes.QUANTITIES[m.quantity]
    far = quantity.margin * (4 + rng.normal(size=n) if true else rng.normal(size=n) / 5)
    both = rng.normal(size=n)  # what units share: a pair is compared
    here = (-far if m.less else far) + both
    there = dict.fromkeys(m.controls, both)
    if quantity.scale == "log":
        here, there = np.exp(here), {name: np.exp(each) for name, each in there.items()}
    return m.outcome(here, there)


def _grid(m: Measurement, true: bool, n: int, rng: np.random.Generator) -> outcomes.Outcome:
    cells = list(itertools.product(range(n), (1, 2, 3), (1, 2, 4)))
    unit, *levels = zip(*cells, strict=True)
    table = dict(zip(m.factors, levels, strict=True))
    margin = outcomes.QUANTITIES["amplitude"].margin
    at = np.log2(table[m.of]) if m.factors[m.of] == "log2" else np.array(table[m.of])
    slope = (4 * margin * at / np.ptp(at)) * true
    noise = margin / 4 * rng.normal(size=len(unit))
    return m.outcome(table | {"unit": unit, "value": np.exp(slope + noise)})


@pytest.mark.parametrize("statement", STATED, ids=lambda each: each.id)
def test_a_statement_holds_where_it_is_true_and_fails_where_it_is_not(statement) -> None:
    said = {}
    for true in (True, False):
        verdicts = []
        for draw in range(20):
            rng = np.random.default_rng(draw)
            found = {m.id: simulated(m, true, rng) for m in statement.voting}
            verdicts.append(statement.verdict(found)[0])
        said[true] = verdicts
    if statement.rule == "unknown":
        assert {*said[True], *said[False]} == {statements.UNKNOWABLE}
        return
    assert said[True].count(statements.HOLDS) > 10
    assert said[False].count(statements.FAILS) > 15
    assert said[True].count(statements.FAILS) < 3  # of 95 % intervals one in twenty errs
    assert statements.HOLDS not in said[False]


@pytest.mark.parametrize(
    "statement", [each for each in STATED if len(each.voting) > 1], ids=lambda each: each.id
)
def test_half_a_truth_holds_in_part(statement) -> None:
    rng = np.random.default_rng(0)
    found = {m.id: simulated(m, False, rng) for m in statement.voting}
    first = statement.voting[0]
    while first.vote((true := simulated(first, True, rng)).word) != 1:
        pass
    verdict, where = statement.verdict(found | {first.id: true})
    assert verdict == statements.IN_PART
    assert first.asks not in where and statement.voting[1].asks in where


@pytest.mark.parametrize("statement", STATED, ids=lambda each: each.id)
def test_what_was_not_measured_is_open_and_says_its_price(statement) -> None:
    verdict, why = statement.verdict({})
    assert verdict in (statements.OPEN, statements.UNKNOWABLE) and why
    if verdict == statements.OPEN:
        assert all(m.asks in why and m.price in why for m in statement.voting)


@pytest.mark.parametrize("m", ALL, ids=lambda m: m.id)
def test_a_measurement_could_come_out_either_way_and_says_its_scale(m: Measurement) -> None:
    words = outcomes.KINDS[m.kind]
    assert {m.vote(word) for word in words} == {1, -1}
    assert (ROOT / "notebooks" / f"{m.notebook}.ipynb").exists()
    if m.kind != "proof":
        assert units(m) >= 3 and m.theirs


def test_the_papers_statements_are_all_there_and_no_other() -> None:
    ids = [f"L{k}" for k in range(1, 7)] + [f"G{k}" for k in range(1, 8)]
    ids += ["LN1 to LN4", "LN5 to LN7", "GN1", "GN2"]
    assert sorted(ids) == sorted(each.id for each in STATED)
    printed = {m.printed for m in ALL if m.printed is not None}
    assert printed == {35.77, 0.222, 0.0633, 0.0093, 0.156, 0.000805, 0.0214, 0.35, 1.29}


MADE = Measurement("X.a", "a gap", "more than", "02_o5", "amplitude", ("untrained",))
SAID = Statement("X", "key2020", "abstract", "It is so.", "every", (MADE,))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("asks", "b"), ("quantity", "error"), ("controls", ("c",)), ("less", True)],
        *[("supports", ("no",)), ("refutes", ("yes",)), ("beside", True), ("units", "9")],
        *[("theirs", "c"), ("ours", "c"), ("price", "c"), ("figure", "f"), ("unit", "m")],
        *[("notebook", "03"), ("printed", 1.0), ("printed_as", "one"), ("id", "X.b")],
        *[("kind", "share"), ("factors", {"d": "linear"}), ("of", "d")],
    ],
)
def test_every_field_of_a_measurement_that_changes_after_a_run_is_said(name, value) -> None:
    then = statements.terms(SAID, MADE)
    assert statements.changed(statements.terms(SAID, MADE), then) == []
    now = statements.terms(SAID, replace(MADE, **{name: value}))
    assert any(name in line for line in statements.changed(now, then))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("id", "Y"), ("paper", "b"), ("where", "text"), ("says", "No."), ("rule", "any")],
        *[
            ("why", "so"),
            ("set", "after the run"),
            ("measurements", (MADE, replace(MADE, id="X.b"))),
        ],
    ],
)
def test_every_field_of_a_statement_that_changes_after_a_run_is_said(name, value) -> None:
    now = statements.terms(replace(SAID, **{name: value}), MADE)
    assert statements.changed(now, statements.terms(SAID, MADE))
    assert statements.changed(now, {}) == ["stated after this run"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("statements: [{id: A, verdict: holds}]", "unknown key verdict"),
        ("statements: [{id: A, where: a, says: b, rule: most}]", "rule"),
        ("statements: [{id: A, where: a, says: b, rule: every}]", "no measurement"),
        ("statements: [{id: A, where: a, says: b, rule: unknown}]", "must say why"),
        ("statements: [{id: A, says: b, rule: unknown, why: c}]", "where"),
        (
            "statements: [{id: A, where: a, says: b, rule: every, measurements: "
            "[{id: A.a, asks: b, kind: more than, notebook: n}]}]",
            "needs a quantity",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "one.yaml").write_text(f"paper: key\n{text}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"(?s)one\.yaml, A.*{says}"):
        statements.load(tmp_path)


def test_controls_are_those_announced() -> None:
    with pytest.raises(ValueError, match="announces the controls untrained; got shuffled"):
        MADE.outcome([1.0, 2.0], {"shuffled": [1.0, 2.0]})


def test_numbers_survive_json() -> None:
    assert statements.plain([1 / 3, math.nan, math.inf]) == [0.333333, "nan", "inf"]
