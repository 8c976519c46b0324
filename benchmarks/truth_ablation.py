"""The rule that counts symmetries with other constants than its own, on the tuning half alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from unittest import mock

import pandas
from torch import Tensor
from truth_cases import Case

import symscope as ss
from symscope.decide.decision import RULE, Decision
from symscope.decide.rule import decide
from symscope.extract import tuned
from symscope.extract.evidence import Evidence

# What each constant is set to, alone. A quantile of 1 cuts off nothing of the first samples.
VALUES: dict[str, tuple[float, ...]] = {
    "kappa": (0.1, 0.2, 0.3, 0.5, 1.0),
    "least gap": (2.0, 3.0, 5.0),
    "clip quantile": (0.9, 0.95, 0.99, 1.0),
    "pieces": (8, 16, 32, 64),
}
USED = {
    "kappa": RULE.kappa,
    "least gap": RULE.least_gap,
    "clip quantile": tuned.TUNED.quantile,
    "pieces": tuned.TUNED.pieces,
}
MOST_PIECES = 64


def gathered(case: Case, data: Tensor, quantile: float, seed: int = 0) -> Evidence:
    """The evidence on a case, in the most pieces; of its neighbours all others are merged."""
    held_to = replace(tuned.TUNED, quantile=quantile, pieces=MOST_PIECES)
    with mock.patch.object(tuned, "TUNED", held_to):
        found = ss.learned_symmetries(case.function, data, action=case.action, seed=seed)
    assert found.evidence is not None  # it is None of reports read from files alone
    return found.evidence


def decided(held: Evidence, kappa: float, gap: float, pieces: float) -> tuple[Decision, Tensor]:
    """The decision with these constants, and its bounds."""
    merged, most = copy.copy(held), MOST_PIECES
    while most > pieces:
        pairs = [merged.pieces[i : i + 2] for i in range(0, len(merged.pieces), 2)]
        merged.pieces = [p[0].merge(p[1]) if len(p) == 2 else p[0] for p in pairs]
        most //= 2
    decision = decide(merged, rule=replace(RULE, kappa=kappa, least_gap=gap))
    return decision, decision.bound


def ablated(make: Callable[[], list[Case]]) -> list[dict]:
    """What every setting says of the cases that are made, a row each."""
    return [row for case in make() for row in _settings(case)]


def _settings(case: Case) -> list[dict]:
    quantiles, true = VALUES["clip quantile"], len(case.truth)
    covered = true > 0 and case.family in ("broken", "trained")
    held = {q: gathered(case, case.data, q) for q in quantiles}
    larger = case.larger[::3]  # enough: seven times the data
    much = {q: gathered(case, larger, q, seed=1) for q in quantiles} if covered else {}

    @cache
    def asked(quantile: float, *rest: float) -> tuple[Decision, Tensor]:
        return decided(held[quantile], *rest)

    @cache
    def truth(quantile: float, kappa: float) -> Tensor:
        usual = USED["least gap"], USED["pieces"]
        return decided(much[quantile], kappa, *usual)[0].relative

    rows = []
    for constant, values in VALUES.items():
        for value in values:
            quantile, kappa, *rest = (
                value if name == constant else USED[name]
                for name in ("clip quantile", "kappa", "least gap", "pieces")
            )
            decision, bound = asked(quantile, kappa, *rest)
            row = {"constant": constant, "value": value, "family": case.family}
            row |= {"right": decision.count == true, "covers": None}
            if covered and true <= min(len(truth(quantile, kappa)), len(bound)):
                row["covers"] = bool(bound[true - 1] >= truth(quantile, kappa)[true - 1])
            rows.append(row)
    return rows


def summarised(told: pandas.DataFrame) -> pandas.DataFrame:
    """A row a setting: shares of right counts, false counts among the controls, coverage."""
    rows = []
    for (constant, value), some in told.groupby(["constant", "value"], sort=False):
        right = {family: part.right for family, part in some.groupby("family")}
        covers = some.covers.dropna().astype(bool)
        rows.append(
            {
                "constant": constant,
                "value": value,
                "used": value == USED[constant],
                "exact right": right["exact"].mean(),
                "exact cases": len(right["exact"]),
                "trained right": right["trained"].mean() if "trained" in right else None,
                "trained cases": len(right.get("trained", [])),
                "false counts": int((~right["control"]).sum()),
                "controls": len(right["control"]),
                "coverage": covers.mean(),
                "bounds": len(covers),
            }
        )
    return pandas.DataFrame(rows)
