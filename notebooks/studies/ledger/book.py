"""The ledger: a notebook's claims, shown before and after the run, kept in its output.

A notebook names the file of its claims, measures each once and shows the verdicts as it ends.
What was measured is stored in its output as JSON under a MIME type of its own, from where the
book's ledger page and the README's table are made: verdicts are computed anew there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import tables
from .claims import AFTER, Claim, load, refuse_twins
from .criteria import Criterion
from .tables import number, spread
from .verdicts import Finding, judge

__all__ = [
    "MIME", "Claim", "Ledger", "measured_by", "moved_silently", "number", "read", "spread",
]  # fmt: skip
MIME = "application/vnd.symscope.claims+json"


class Ledger:
    """A notebook's claims in the order they were stated; shows itself in Jupyter as stated.

    Args:
        claims: with ids of their own.
        scale: "quick" or "paper", for every :meth:`Claim.measure` that names none. Default
            "": each must name its own.

    Raises:
        ValueError: if two claims have the same id.
    """

    def __init__(self, *claims: Claim, scale: str = ""):
        refuse_twins(claims, "the ledger")
        self.claims = {claim.id: claim for claim in claims}
        for claim in claims:
            claim.belongs_to(scale)

    @classmethod
    def of(cls, path: str | Path, scale: str) -> Ledger:
        """The claims of a YAML file, ``claims/NAME.yaml`` for the notebook NAME.

        Raises:
            ValueError: as :func:`studies.ledger.claims.load`.
        """
        return cls(*load(path), scale=scale)

    def __getitem__(self, id: str) -> Claim:
        return self.claims[id]

    def __iter__(self) -> Iterator[Claim]:
        return iter(self.claims.values())

    def measure_reports(
        self,
        id: str,
        runs: Iterable[Mapping[str, Any]],
        measure: Callable[[Any], Any],
        *,
        learned: str = "learned",
    ) -> Claim:
        """Measure a claim, and its controls, by one number a report, a run at a time.

        Args:
            id: of the claim; its controls' names are names of reports.
            runs: a run a seed: its reports by name.
            measure: from a report to a number, ``lambda found: found.gaps[0]`` say.
            learned: name of the report that the claim is about.

        Raises:
            ValueError: as :meth:`Claim.measure`.
            KeyError: if a run has no report of a name.
        """
        runs, claim = list(runs), self[id]

        def of(name: str) -> list[float]:
            return [float(measure(run[name])) for run in runs]

        names = claim.control.names if claim.control else ()
        return claim.measure(of(learned), controls={name: of(name) for name in names})

    def require(self, *ids: str) -> None:
        """Print the claims whose every value must meet its criterion, and every control its own.

        It asks less than a verdict does, which a few seeds may not reach, and more: not one
        value may be off.

        Raises:
            AssertionError: if one is off; the message shows its values and controls.
            KeyError: if there is no claim of an id.
            ValueError: if no id is given, for that would require nothing.
        """
        if not ids:
            raise ValueError("name the claims whose values are required")
        missed = []
        for claim in map(self.__getitem__, ids):
            asked = [(claim.values, claim.criterion)]
            if claim.control and claim.control.must:
                asked += [(values, claim.control.must) for values in claim.controls.values()]
            met = [values and all(map(Criterion(text).met_by, values)) for values, text in asked]
            if not all(met):
                must = (
                    f", controls {claim.controls} must be {claim.control.must}"
                    * bool(claim.controls)
                    if claim.control
                    else ""
                )
                missed.append(
                    f"{claim.id}: values {list(claim.values)} must be {claim.criterion}{must}"
                )
        if missed:
            raise AssertionError("\n".join(missed))
        for id in ids:
            print(f"{id}: {self[id].criterion} in every run")

    def found(self, *ids: str) -> Verdicts:
        """The findings of some claims, for display beside the figure that shows them.

        They are kept by :meth:`verdicts` alone, as the notebook ends.

        Raises:
            KeyError: if there is no claim of an id.
            ValueError: if no id is given, or a claim was not measured before.
        """
        claims = [self[id] for id in ids]
        if not claims or not all(claim.scale for claim in claims):
            missing = ", ".join(claim.id for claim in claims if not claim.scale)
            raise ValueError(f"name claims that were measured; not measured: {missing or 'none'}")
        return Verdicts(judge(claims), kept=False)

    def verdicts(self) -> Verdicts:
        """The findings of all claims, for display as the notebook ends.

        Raises:
            ValueError: if a claim was never measured.
        """
        if missing := [claim.id for claim in self.claims.values() if not claim.scale]:
            raise ValueError(f"never measured: {', '.join(missing)}")
        return Verdicts(judge(self.claims.values()))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        claims = list(self.claims.values())
        plain = "\n".join(f"{claim.id}: {claim.criterion}" for claim in claims)
        return {"text/plain": plain, "text/html": tables.stated(claims)}


class Verdicts:
    """Findings that show themselves in Jupyter and are kept in its output, or in brief and not."""

    def __init__(self, findings: Iterable[Finding], kept: bool = True):
        self.findings, self.kept = list(findings), kept

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        plain = "\n".join(f"{each.claim.id}: {each.verdict}" for each in self.findings)
        table = tables.html if self.kept else tables.brief
        shown = {"text/plain": plain, "text/html": table(self.findings)}
        stored = [each.claim.stored() for each in self.findings]
        return shown | {MIME: stored} if self.kept else shown


def read(notebook: str | Path) -> list[dict[str, Any]]:
    """What an executed notebook stored of its claims: their terms then, and what was measured.

    Of notebooks that ran before claims had files, the criteria and values are there.

    Raises:
        ValueError: if it stores two claims with one id.
    """
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    found = []
    for cell in cells:
        for output in cell.get("outputs", ()):
            for claim in output.get("data", {}).get(MIME, ()):
                found.append({"cell": 0} | _modern(claim))
                found[-1]["cell"] = found[-1]["cell"] or cell.get("execution_count") or 0
    ids = [claim["id"] for claim in found]
    if twins := sorted({id for id in ids if ids.count(id) > 1}):
        raise ValueError(f"{notebook} stores two claims with the same id: {', '.join(twins)}")
    return found


def _modern(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What was stored before claims had files, under the names of today."""
    if "measured" not in stored:
        return dict(stored)
    must = stored["control_criterion"]
    return {
        "id": stored["id"],
        "quantity": stored["measured"],
        "unit": stored["unit"] or "none",
        "criterion": stored["criterion"],
        "control": {"must": must} if must else None,
        **{name: stored[name] for name in ("values", "controls", "scale")},
    }


def measured_by(claims: Iterable[Claim], stored: Iterable[Mapping[str, Any]]) -> list[Claim]:
    """The claims, measured by what a notebook stored where that fits.

    It fits where the quantity and its unit are the same, word for word, and every control that
    the claim announces is there. Claims that nothing fits stay unmeasured.
    """
    by_id = {each["id"]: each for each in stored}
    claims = list(claims)
    for claim in claims:
        kept = by_id.get(claim.id)
        names = claim.control.names if claim.control else ()
        if not kept or (kept["quantity"], kept["unit"]) != (
            claim.quantity,
            claim.unit,
        ):
            continue
        if not kept["scale"] or not all(kept["controls"].get(name) for name in names):
            continue
        controls = {name: kept["controls"][name] for name in names}
        measured = {name: kept[name] for name in ("values", "scale", "cell")}
        claim.measure(**measured, controls=controls)
    return claims


def moved_silently(claims: Iterable[Claim], stored: Iterable[Mapping[str, Any]]) -> list[str]:
    """What was changed after it was measured, and is not said to be ``set: after the record``.

    Compared are the criterion, what a control must be, and every other term that was stored.
    """
    by_id = {each["id"]: each for each in stored}
    said = []
    for claim in claims:
        kept, now = by_id.get(claim.id), claim.stored()
        if kept is None or claim.set == AFTER:
            continue
        for name in ("criterion", "interval", "no_effect"):
            if name in kept and kept[name] != now[name]:
                said.append(f"{claim.id}: {name} was {kept[name]!r} and is {now[name]!r}")
        must = [(each.get("control") or {}).get("must") for each in (kept, now)]
        if must[0] != must[1]:
            said.append(f"{claim.id}: the control must be {must[1]!r}, and it was {must[0]!r}")
    return [f"{line}; say `set: {AFTER}`" for line in said]
