"""The truth suite's invariances under combined mode, beside all outputs of the same functions.

    python benchmarks/truth_combined.py    # writes results/truth_combined.json, prints the table

Every function, network and control of ``make truth`` that is asked about invariances, each with ten
outputs, so that there is something to combine; pairs, systems and finite differences of image
networks know no such mode.
"""

from __future__ import annotations

import argparse
import json
from functools import partial

import pandas
from measure import RESULTS
from truth import Answer, answered, judge, makers, spread

OUTPUTS, MODES = 10, ("combined", "exact")
Judged = dict[str, list[Answer]]


def judged(make: partial) -> list[Judged]:
    """What is said of a case in each mode."""
    return [{mode: [judge(case, mode)] for mode in MODES} for case in make(outputs=OUTPUTS)]


def summarised(told: pandas.DataFrame) -> dict[str, object]:
    """Of each family how many are right and of how many; bounds that cover; right names."""
    right = told[told.right.notna()].groupby("family").right
    named, bounds = told[told.named.notna()].named, told[told.true_rho.notna()]
    return {
        "right": {str(k): [int(v.astype(bool).sum()), len(v)] for k, v in right},
        "covered": [int((bounds.bound >= bounds.true_rho).sum()), len(bounds)],
        "named": [int(named.astype(bool).sum()), len(named)],
        "seconds": round(float(told.seconds.sum()), 1),
    }


def main(quick: bool = False, workers: int = 2) -> None:
    """Run all, write the summary, print it."""
    both = sum(spread([partial(judged, make) for make in makers(quick)], workers), [])
    told = {mode: answered(each[mode] for each in both) for mode in MODES}
    found = {mode: summarised(some) for mode, some in told.items()}
    for mode, some in told.items():
        wrong = some[some.right.notna() & ~some.right.fillna(True).astype(bool)]
        print(mode, wrong[["name", "half", "broken", "true", "found", "answer"]].to_string())
    text = json.dumps({"outputs": OUTPUTS, **found}, indent=1)
    if not quick:
        (RESULTS / "truth_combined.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few cases of each kind")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    main(**vars(parser.parse_args()))
