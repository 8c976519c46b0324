"""Statements: what a paper says, what is measured for it, and the verdict that follows.

They stand in ``notebooks/statements/PAPER.yaml``, with the rule of the verdict, before the run.
Nobody can type an outcome or a verdict: both follow from the values each time they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from symscope._checks import choice

from . import outcomes
from .outcomes import KINDS, QUANTITIES, UNDECIDED, UNMEASURED, Outcome

RULES = ("every", "any", "unknown")
HOLDS, IN_PART, FAILS = "holds", "holds in part", "does not hold"
OPEN, UNKNOWABLE = "open", "cannot be known from here"
VERDICTS = (HOLDS, IN_PART, FAILS, OPEN, UNKNOWABLE)


@dataclass(frozen=True)
class Measurement:
    """One estimate that a statement is judged by.

    Args:
        id: unique, the statement's first: "L1.angle".
        asks: what is measured, in words; it ends a sentence "we measure ...".
        kind: one of ``outcomes.KINDS``.
        notebook: that measures it.
        quantity: for "more than" one of ``outcomes.QUANTITIES``.
        controls: of "more than", what the notebook must hand in beside the values.
        less: of "more than", whether less than the controls is asked for.
        factors: of "trend", each factor of the grid and its scale, "linear" or "log2".
        of: of "trend", the factor in question.
        printed: the number that the authors print, in our unit.
        printed_as: word for word, where that is in another unit.
        supports: outcomes that speak for the statement. Default the kind's first.
        refutes: those that speak against it. Default the kind's second.
        beside: whether it is shown only, and is no part of the rule.
        units: how many independent units the full run has, and why: "30 seeds: 4 s each".
        unit: of the number, where it has one.
        ours: our scale, the notebook's parameters in braces: "{epochs} epochs".
        theirs: the scale of the paper's own experiment.
        price: what it costs to make, where the record does not hold it: "0.7 core hours".
        figure: id of the notebook's cell with the picture that shows it.

    Raises:
        ValueError: for terms that are unknown, or do not belong to the kind.
    """

    id: str
    asks: str
    kind: str
    notebook: str
    quantity: str = ""
    controls: tuple[str, ...] = ()
    less: bool = False
    factors: Mapping[str, str] = field(default_factory=dict)
    of: str = ""
    printed: float | None = None
    printed_as: str = ""
    supports: tuple[str, ...] = ()
    refutes: tuple[str, ...] = ()
    beside: bool = False
    units: str = ""
    unit: str = ""
    ours: str = ""
    theirs: str = ""
    price: str = ""
    figure: str = ""

    def __post_init__(self) -> None:
        choice(f"measurement {self.id!r}: kind", self.kind, tuple(KINDS))
        needed = {
            "more than": (self.quantity in QUANTITIES, bool(self.controls)),
            "trend": (self.of in self.factors, bool(self.supports), bool(self.refutes)),
            "printed": (self.printed is not None,),
        }.get(self.kind, ())
        decided = set(KINDS[self.kind])
        for name in ("controls", "supports", "refutes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not all(needed) or not {*self.supports, *self.refutes} <= decided:
            raise ValueError(
                f"measurement {self.id!r}: a {self.kind!r} needs a quantity of "
                f"{', '.join(QUANTITIES)} and controls; a trend factors, of, supports and "
                f"refutes; a printed number the number; outcomes are {', '.join(decided)}"
            )

    def vote(self, word: str) -> int:
        """1 where an outcome speaks for the statement, -1 where against, 0 where neither."""
        supports = self.supports or KINDS[self.kind][:1]
        refutes = self.refutes or KINDS[self.kind][1:2]
        return (word in supports) - (word in refutes)

    def outcome(self, values: Any, controls: Mapping[str, Any] | None = None) -> Outcome:
        """What the values come to, see ``outcomes``.

        Args:
            values: one a unit; of a trend the columns of its table.
            controls: one a unit each, by name.

        Raises:
            ValueError: if the controls are not those announced.
        """
        given = dict(controls or {})
        if set(given) != set(self.controls):
            raise ValueError(
                f"{self.id} announces the controls {', '.join(self.controls) or 'none'}; got "
                f"{', '.join(given) or 'none'}"
            )
        if self.kind == "printed" and self.printed is not None:
            return outcomes.printed(values, self.printed)
        if self.kind == "more than":
            return outcomes.more_than(values, given, self.quantity, self.less)
        if self.kind == "trend":
            return outcomes.trend(values, self.factors, self.of)
        return (outcomes.share if self.kind == "share" else outcomes.proof)(values)


@dataclass(frozen=True)
class Statement:
    """What a paper says, in our words.

    Args:
        id: as in the literature's list, "L1".
        paper: BibTeX key.
        where: "abstract", "text", "public notebook", "README", "code".
        says: one sentence.
        rule: "every": it holds if every measurement speaks for it, in part if some speak against
            it, and does not if all do; "any": it holds if one does; "unknown": nothing that we
            can do decides.
        why: for "unknown" why so; else a remark that belongs to the verdict.
        measurements: at least one that is not merely beside, unless the rule is "unknown".
        set: when the rule was last changed: "before any run", or after which record.
    """

    id: str
    paper: str
    where: str
    says: str
    rule: str
    measurements: tuple[Measurement, ...] = ()
    why: str = ""
    set: str = "before any run"

    def __post_init__(self) -> None:
        choice(f"statement {self.id!r}: rule", self.rule, RULES)
        if self.rule == "unknown":
            if not self.why:
                raise ValueError(f"statement {self.id!r} must say why it cannot be known")
        elif not self.voting:
            raise ValueError(f"statement {self.id!r} has no measurement that could decide it")

    @property
    def voting(self) -> list[Measurement]:
        """The measurements of its rule; a proof alone is not scored, so it has no vote."""
        return [each for each in self.measurements if not each.beside and each.kind != "proof"]

    def verdict(self, found: Mapping[str, Outcome]) -> tuple[str, str]:
        """The verdict, and where, why or at what price.

        Args:
            found: outcomes by the measurement's id; what is not there was not measured.
        """
        if self.rule == "unknown":
            return UNKNOWABLE, self.why
        words = [found.get(each.id, Outcome(UNMEASURED)).word for each in self.voting]
        votes = [each.vote(word) for each, word in zip(self.voting, words, strict=True)]
        against = [each.asks for each, vote in zip(self.voting, votes, strict=True) if vote < 0]
        if 1 in votes and (self.rule == "any" or -1 in votes):
            within = self.rule == "any"
            return (HOLDS, self.why) if within else (IN_PART, f"not for {'; '.join(against)}")
        if 0 in votes:
            missing = [
                f"{each.asks} ({word}{f': {each.price}' if each.price else ''})"
                for each, word, vote in zip(self.voting, words, votes, strict=True)
                if not vote
            ]
            return OPEN, f"to be settled by {'; '.join(missing)}"
        for_it = 1 in votes
        return (HOLDS if for_it else FAILS), self.why


def load(folder: str | Path) -> list[Statement]:
    """The statements of every YAML file of a folder: mappings of ``paper`` and ``statements``.

    What stands at the top of a file, or of a statement, as ``defaults`` holds for each
    measurement below it that does not say otherwise.

    Raises:
        ValueError: for a key that is unknown or missing, or two of one id; with the file's name.
    """
    import yaml  # of the book, not of the package

    found: list[Statement] = []
    for path in sorted(Path(folder).glob("*.yaml"), reverse=True):  # LieGG first
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        for each in given["statements"]:
            try:
                defaults = given.get("defaults", {}) | each.pop("defaults", {})
                measured = [_made(Measurement, defaults | m) for m in each.pop("measurements", [])]
                terms = {"paper": given["paper"], "measurements": tuple(measured)} | each
                found.append(_made(Statement, terms))
            except ValueError as error:
                raise ValueError(f"{path.name}, {each.get('id')}: {error}") from None
    ids = [each.id for each in found] + [m.id for each in found for m in each.measurements]
    if twins := sorted({id for id in ids if ids.count(id) > 1}):
        raise ValueError(f"two statements or measurements have one id: {', '.join(twins)}")
    return found


def _made(kind: type, given: Mapping[str, Any]) -> Any:
    known = {each.name for each in fields(kind)}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    try:
        return kind(**given)
    except TypeError as error:
        raise ValueError(str(error)) from None


def terms(statement: Statement, measurement: Measurement) -> dict[str, Any]:
    """All that a measurement was judged by when it was made, as JSON: to be compared later."""
    said = {name: value for name, value in asdict(statement).items() if name != "measurements"} | {
        "rule over": [each.id for each in statement.voting]
    }
    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(measurement).items()
    }
    return {"statement": said, "measurement": plain}


def changed(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """Each field of a statement and its measurement that is not as it was when it was measured.

    Args:
        now: the :func:`terms` of today.
        then: those that the run stored; empty where it stored none.
    """
    if not then:
        return ["stated after this run"]
    return [
        f"{name} was {then[part].get(name)!r}"
        for part in ("statement", "measurement")
        for name in dict.fromkeys([*now[part], *then[part]])
        if now[part].get(name) != then[part].get(name)
    ]


def plain(values: Iterable[float]) -> list[float | str]:
    """Numbers as JSON takes them: NaN and infinity as text, six digits."""
    return [float(f"{v:.6g}") if math.isfinite(v) else str(v) for v in map(float, values)]


__all__ = ["UNDECIDED", "UNMEASURED", "Measurement", "Statement", "changed", "load", "terms"]
