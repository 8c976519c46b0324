"""A report in three lines, which reports call when they are printed: they are not imported here."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..actions.plane import PlaneAction
from ..algebra.naming import name_algebra
from .plane_report import named_movements

ADVICE = {
    "exact": "The network is invariant to rounding; if an untrained copy is too, its architecture "
    "makes it so, and nothing was learned.",
    "approximate": "The outputs change by less than the tolerance along these directions. Whether "
    "that was learned, the untrained copy says.",
    "partial": "Along the directions that stand out the outputs change by more than the tolerance, "
    "and clearly less than along others. Ask the untrained copy, or learned_symmetries(contrast=).",
    "none": "No direction changes the outputs by less than the tolerance. Directions near it are "
    "in the table; another action may hold others.",
    "too few data": "Hand in more samples, or an action of fewer directions.",
    "below resolution": "Hand in the data and the network in float64.",
    "no evidence": "Hand in at least two samples that can be paired.",
}

CALLED = 20.0  # degrees, within which a movement of the plane is called by a name


def called(found: Any, level: str) -> str:
    """What the directions of a level are called, or "" where nothing is."""
    span = found.at(level)
    if not len(span) or len(found.action.shape) != 2:
        return ""
    if isinstance(found.action, PlaneAction) and len(span) == 1:
        for name, matrix in named_movements(found.action).items():
            if float(found.angle_between(span, matrix[None])) < CALLED:
                return name
    known = name_algebra(span)
    return str(known) if known.certain else ""


def in_words(found: Any) -> str:
    """Three lines: how many of which level and what they are called; beside what; from what."""
    if found.decision is None or found.count is None:
        note = found.decision.note if found.decision else "of whitened features, or one sample"
        return f"{found.level}: {note}.\n{ADVICE[found.level]}\n{found!r}"
    total, count, partial = len(found.relative), found.count, found.counted("partial")
    name = called(found, "partial" if found.level == "partial" else "approximate")
    first = f"{found.level}: {name}".rstrip(": ")
    if count:
        first += f"; {count} of {total} directions change the outputs by at most "
        first += f"{float(found.bound[count - 1]):.2g} of what an unrelated one does"
    if partial > count:
        more = f"{partial - count} more" if count else f"{partial} of {total} directions"
        first += f"; {more} stand out, with {_range(found.relative[count:partial])} of the change "
        first += "along an unrelated one"
    last = max(count, partial)
    beside = [f"next direction {float(found.relative[last]):.2g}"] if last < total else []
    for control, report in (("shuffled", found.shuffled), ("contrast", found.contrast)):
        if report is not None and report.decision is not None and len(report.relative):
            beside.append(f"{control} {float(report.relative[0]):.2g} at least")
    second = f"Beside them: {', '.join(beside)}. 0 is no change, 1 an unrelated direction."
    third = f"From {found.decision.samples} samples, at {found.confidence:.0%} confidence."
    if found.decision.note:
        third += f" Note: {found.decision.note}."
    if len(found.undefined):
        third += f" Along {len(found.undefined)} more directions the data do not move."
    return f"{first}.\n{second}\n{third}"


def _range(values: Tensor) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.2g}" if f"{low:.2g}" == f"{high:.2g}" else f"{low:.2g} to {high:.2g}"
