"""Claims and findings as tables: how a number, an interval and a verdict are printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ..statistics.intervals import Interval, known
from ..statistics.text import number, spread
from .claims import PAPERS, WHOSE, Claim
from .criteria import Criterion
from .verdicts import UNMEASURED, VERDICTS, Finding, judge

COLUMNS = (
    "Claim",
    "Whose",
    "Measured by",
    "Must be",
    "Found",
    "Controls",
    "Verdict",
)
LISTS = {
    "the papers": PAPERS,
    "this book": ("ours",),
    "checks of our code": ("check",),
}


def told(found: Interval, units: str = "seeds") -> str:
    """An interval: "1.20 [1.10, 1.40], 5 seeds", and what was dropped.

    >>> told(Interval(1.2, 1.1, 1.4, 4, 1))
    '1.20 [1.10, 1.40], 4 seeds (1 more gave no number)'
    """
    ends = "" if found.low == found.high else f" [{number(found.low)}, {number(found.high)}]"
    dropped = f" ({found.dropped} more gave no number)" if found.dropped else ""
    return f"{number(found.estimate)}{ends}, {found.units} {units}{dropped}"


def _values(claim: Claim, values: Sequence[float], found: Interval | None, asked: str) -> str:
    """What was found of the claim, or of a control that is asked for something."""
    if claim.interval == "all":
        return f"{spread(values, 'cases')}, {len(values)} cases"
    if claim.interval == "share":
        if found is None:
            return spread(values, claim.units)
        met = sum(map(Criterion(asked).met_by, values))
        ends = f"[{number(found.low)}, {number(found.high)}]"
        return f"{spread(values, claim.units)}; {met} of {found.units} {claim.units}, share {ends}"
    if found is None:
        return f"{spread(values, claim.units)}, {len(known(values))} {claim.units}"
    return told(found, claim.units)


def found_by(finding: Finding) -> str:
    """What was found, a line each: the claim's own, its dropped values, what the authors print."""
    claim = finding.claim
    lines = []
    if claim.scale:
        lines = [_values(claim, claim.values, finding.value, claim.criterion)]
    if claim.printed is not None:
        here = f"{claim.printed_as}, here " if claim.printed_as else ""
        lines.append(f"the authors print {here}{number(claim.printed)}")
    return "\n".join(lines)


def controls_of(finding: Finding) -> str:
    """Each control's interval, its difference from the claim's, and what it must be."""
    claim, control = finding.claim, finding.claim.control
    if control is None:
        return ""
    lines, what = (
        [],
        "ratio to it" if claim.interval == "log" else "difference from it",
    )
    for name, values in claim.controls.items():
        theirs = _values(
            claim,
            values,
            finding.controls.get(name),
            control.must or claim.criterion,
        )
        lines.append(f"{name}: {theirs}")
        if difference := finding.differences.get(name):
            lines.append(f"{what}: {told(difference, claim.units)}")
    if control.must:
        lines.append(f"must be {Criterion(control.must).shown(_unit(claim))}")
    return "\n".join(
        [
            *lines,
            *(["the difference is the point"] if control.difference else []),
        ]
    )


def must_of(claim: Claim) -> str:
    """The criterion with its unit, and for claims of direction what counts as no effect."""
    must = Criterion(claim.criterion).shown(_unit(claim))
    if claim.interval == "share":
        must += f", in most {claim.units}" if claim.units != "one test" else ""
    return must + (f"\nno effect: {claim.no_effect}" if claim.no_effect else "")


def _unit(claim: Claim) -> str:
    return "" if claim.unit == "none" else claim.unit


def printed(claims: Iterable[Claim]) -> list[Claim]:
    """The claims on a number that the authors print, if it was measured."""
    return [claim for claim in claims if claim.printed is not None and claim.scale]


def side_by_side(claim: Claim) -> dict[str, str]:
    """A printed number beside ours, and ours over it."""
    (finding,) = judge([claim])
    row = {
        "theirs": claim.printed_as or number(claim.printed or 0.0),
        "ours": "",
        "ratio": "",
    }
    row["ours"] = _values(claim, claim.values, finding.value, claim.criterion)
    if finding.value and claim.printed:
        row["ratio"] = number(finding.value.estimate / claim.printed)
    return row | {"verdict": finding.verdict}


def cells(finding: Finding, mixed: bool = False) -> tuple[str, ...]:
    """One text a column; in a table of mixed scales that of the finding is said."""
    claim = finding.claim
    found, controls = found_by(finding), controls_of(finding)
    found += f"\nat {claim.scale} scale" * bool(mixed and claim.scale)
    verdict = finding.verdict + (f"\n{finding.why}" if finding.claim.untestable else "")
    return (
        *(claim.says, WHOSE[claim.whose], claim.quantity),
        *(must_of(claim), found, controls, verdict),
    )


def stated(claims: Sequence[Claim]) -> str:
    """The claims before the run, as an HTML table: what would have to be seen, and why."""
    header = (
        "Claim",
        "Whose",
        "Measured by",
        "Must be",
        "Why this threshold",
        "Control",
    )
    rows = []
    for claim in claims:
        control = claim.control
        must = Criterion(control.must).shown(_unit(claim)) if control and control.must else ""
        asked = [f"must be {must}"] * bool(must)
        asked += ["must differ"] * bool(control and control.difference)
        beside = f"{', '.join(control.names)}: {' and '.join(asked)}" if control else ""
        row = (claim.says, WHOSE[claim.whose], claim.quantity, must_of(claim))
        rows.append((*row, f"{claim.threshold} (set {claim.set})", beside))
    return html_table(header, rows)


def html(findings: Sequence[Finding]) -> str:
    """Findings as an HTML table."""
    return html_table(COLUMNS, map(cells, findings)) + f"<p>{legend(findings)}</p>"


def brief(findings: Sequence[Finding]) -> str:
    """Findings as a narrow HTML table, to stand beside a figure."""
    rows = []
    for says, whose, quantity, must, found, controls, verdict in map(cells, findings):
        seen = "\n".join(filter(None, (found, controls)))
        rows.append((f"{says} ({whose})\n{quantity}: {must}", seen, verdict))
    return html_table(("Claim, and what must be", "Found", "Verdict"), rows)


def markdown(findings: Sequence[Finding]) -> str:
    """The short ledger: what the papers claim, counted, and the headlines among it as a table."""
    papers = [each for each in findings if each.claim.whose in PAPERS]
    keep = (0, 3, 4, 6)
    mixed = len(scales(papers)) > 1
    rows = [
        COLUMNS,
        *(cells(each, mixed) for each in papers if each.claim.headline),
    ]
    lines = ["| " + " | ".join(_escaped(row[i]) for i in keep) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(keep))
    return "\n".join(
        [
            tally(papers, "claims of the papers"),
            "",
            *lines,
            "",
            legend(papers),
        ]
    )


def legend(findings: Sequence[Finding]) -> str:
    """How to read what was found, and at which scale it was."""
    measured = " and ".join(scales(findings)) or "no"
    return (
        "Found: estimate and, in brackets, its 95 % interval over independent units, their number "
        f"beside it; at {measured} scale."
    )


def scales(findings: Iterable[Finding]) -> list[str]:
    """The scales at which they were measured."""
    return sorted({each.claim.scale for each in findings} - {""})


def tally(findings: Sequence[Finding], what: str = "claims") -> str:
    """How many got which verdict, as a sentence."""
    if not findings:
        return f"No {what}."
    verdicts = [each.verdict for each in findings]
    counts = [
        f"{verdicts.count(verdict)} {verdict}"
        for verdict in (*VERDICTS, UNMEASURED)
        if verdict in verdicts
    ]
    return f"Of {len(verdicts)} {what}: {', '.join(counts)}."


def tallies(findings: Sequence[Finding]) -> list[str]:
    """The three lists, counted apart."""
    return [
        tally(
            [each for each in findings if each.claim.whose in whose],
            f"claims of {name}",
        )
        if name != "checks of our code"
        else tally([each for each in findings if each.claim.whose in whose], name)
        for name, whose in LISTS.items()
    ]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in the house's look; a line break in a cell stays one."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>"
        + "".join("<td>" + escape(cell).replace("\n", "<br>") + "</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return (
        f'<table class="symscope-ledger"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
