"""A report in words that a person can act on: how many, which, how sure, what to do next."""

from __future__ import annotations

from collections.abc import Mapping

from ..algebra.naming import name_algebra
from .symmetries import Symmetries
from .words import ADVICE


def summary(found: Symmetries, controls: Mapping[str, Symmetries | None] | None = None) -> str:
    """How many symmetries, which, how sure, against which controls, what could not be told.

    Args:
        found: the report.
        controls: other reports on the same data, as ``found.controls()`` gives them; default
            None, the shuffled one alone.

    Returns:
        A few lines of Markdown.

    >>> import symscope as ss, torch
    >>> points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> found = ss.learned_symmetries(lambda x: x.norm(dim=1), points, action=ss.LinearAction(3))
    >>> print(ss.summary(found).splitlines()[0])
    **How many:** 3 of 9 directions (exact).
    """
    controls = {"shuffled": found.shuffled} if controls is None else controls
    count = "unknown" if found.count is None else str(found.count)
    lines = [f"**How many:** {count} of {len(found.action.basis)} directions ({found.level})."]
    lines += _which(found)
    if found.decision is not None:
        lines.append(_how_sure(found))
    lines.append(f"**Against controls:** {_against(controls)}")
    lines.append(f"**What could not be told:** {_untold(found)}")
    lines.append(f"**Next:** {ADVICE[found.level]}")
    return "\n\n".join(lines)


def _which(found: Symmetries) -> list[str]:
    if not found.count:
        return []
    if len(found.action.shape) != 2:
        return ["**Which:** `found.generators[: found.count]`; only matrices have names."]
    name = name_algebra(found.symmetries)
    known = f"the algebra {name}" if name.certain else f"{name}: {name.reason}"
    return [f"**Which:** {known}; its matrices are `found.symmetries`."]


def _how_sure(found: Symmetries) -> str:
    decision, count = found.decided(), found.count or 0
    told = []
    if count:
        told.append(
            f"along them the outputs change by at most {float(found.relative[count - 1]):.2g} "
            f"(bound {float(found.bound[count - 1]):.2g})"
        )
    if count < len(found.relative):
        which = "next" if count else "best"
        told.append(f"along the {which} direction by {float(found.relative[count]):.2g}")
    return (
        f"**How sure:** {', '.join(told)}; relative to an unrelated direction that moves the "
        f"data as far. Bounds at {decision.confidence:.0%} confidence, from {decision.samples} "
        f"samples in {decision.pieces} pieces."
    )


def _against(controls: Mapping[str, Symmetries | None]) -> str:
    told = []
    for name, report in controls.items():
        if report is None or report.decision is None or not len(report.relative):
            told.append(f"{name}: none")
        else:
            count = "unknown" if report.count is None else str(report.count)
            told.append(f"{name}: {count}, least change {float(report.relative[0]):.2g}")
    return ("; ".join(told) or "none was asked") + "."


def _untold(found: Symmetries) -> str:
    if found.decision is None:
        return found.why() + "."
    told = [found.decision.note] if found.decision.note else []
    if others := [cut.dimension for cut in found.decision.cuts if cut.dimension != found.count]:
        larger = ", ".join(
            f"{d} (change up to {float(found.relative[d - 1]):.2g})" for d in sorted(others)
        )
        told.append(f"another count is admissible: {larger}")
    if len(found.undefined):
        told.append(f"along {len(found.undefined)} directions the data do not move")
    return ("; ".join(told) or "nothing") + "."
