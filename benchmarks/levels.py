"""How often "partial" is said where nothing was built in, and missed where something was.

    python benchmarks/levels.py            # writes data/levels.csv and prints the rates

Networks and polynomials without symmetry, and functions of invariants with a part that breaks
them. Even seeds were looked at while the three constants of the level "partial" were chosen, odd
ones judge them. Functions without a symmetry by construction may have a partial one by accident:
false is what twenty times the data do not bear out, that its rho is under half of the control's.
Missed counts where the largest change along what was built in is so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas
import torch
from truth import spread
from truth_cases import DISTRIBUTIONS, Case, of_invariants
from truth_networks import control

import symscope as ss
from symscope.decide.rule import relative_within
from symscope.reports.base import coefficients

RESULTS = Path(__file__).parents[1] / "data" / "levels.csv"
NAMES = ("so(2)", "so(3)", "so(1,1)", "scaling", "so(2) + so(2)", "sl(2)", "so(4)")
PARTS = (0.1, 0.2, 0.3, 0.45)
HALF = 0.5  # of the control: below it something stands out


def broken(name: str, part: float, seed: int) -> Case:
    """A function of invariants, and beside it a part without symmetry."""
    kind = DISTRIBUTIONS[seed % len(DISTRIBUTIONS)]
    return of_invariants(name, seed, distribution=kind, broken=part, outputs=(1, 3)[seed % 2])


def judged(make: partial[Case]) -> list[dict]:
    """What is said of one case, beside what was built into it."""
    case = make()
    found = ss.learned_symmetries(case.function, case.data, action=case.action)
    true = len(case.truth)
    row = {
        "name": case.name,
        "half": case.half,
        "true": true,
        "level": found.level,
        "said": found.counted("partial"),
        "rho": float(found.relative[0]),
        "next": float(found.relative[true]) if true < len(found.relative) else 1.0,
        "control": float(found.shuffled.relative[0]) if found.shuffled else 1.0,
        "borne out": None,
    }
    if true and found.evidence is not None:
        known = coefficients(found.action, case.truth)
        row["rho"] = float(relative_within(found.evidence, known)[0][-1])
    elif row["said"] and found.evidence is not None:
        much = ss.learned_symmetries(case.function, case.larger, action=case.action, seed=1)
        said = found.decided().directions[: row["said"]]
        assert much.evidence is not None
        rho = float(relative_within(much.evidence, said)[0][-1])
        control_of = much.shuffled.relative[0] if much.shuffled else 1.0
        row["borne out"] = rho < HALF * min(1.0, float(control_of))
    return [row]


def cases(quick: bool = False) -> Iterator[partial[Case]]:
    """Each makes a case; the last argument is the seed."""
    yield from (partial(control, seed) for seed in range(12 if quick else 240))
    for place, name in enumerate(NAMES[:2] if quick else NAMES):
        for seed in range(2 if quick else 4):
            for k, part in enumerate(PARTS):
                yield partial(broken, name, part, 40 * place + 2 * k + 8 * (seed // 2) + seed % 2)


def rates(told: pandas.DataFrame) -> pandas.DataFrame:
    """For each half: shares of false "partial" answers and of missed ones, and of how many."""
    rows = []
    for half, some in told.groupby("half"):
        none = some[some.true == 0]
        there = some[(some.true > 0) & (some.rho < HALF * some.control.clip(upper=1))]
        stands = there[there.next > 1.5 * there.rho]
        rows.append(
            {
                "half": half,
                "said": (none.said > 0).mean(),
                "false": ((none.said > 0) & ~none["borne out"].fillna(True).astype(bool)).mean(),
                "controls": len(none),
                "missed": (stands.said < stands.true).mean(),
                "partly symmetric": len(stands),
            }
        )
    return pandas.DataFrame(rows).set_index("half")


def main() -> None:
    """Runs the suite."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few cases of each kind")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    told = pandas.DataFrame(sum(spread([partial(judged, make) for make in cases(quick)]), []))
    if not quick:
        told.to_csv(RESULTS, index=False, float_format="%.4g")
    print(rates(told).round(3).to_string())


if __name__ == "__main__":
    main()
