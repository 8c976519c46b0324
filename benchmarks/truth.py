"""The rule that counts symmetries beside others, on cases with known answers.

    make truth            # all cases: writes data/truth.csv and prints the table

A case is right if as many directions are found as its algebra has dimensions, a control if none
is. Cases of the tuning half may be looked at while constants are chosen; the others judge them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas
import torch
from plane_cases import INVARIANCES, Result, algebra_of, constructed, learned, searched
from plane_cases import TRAINED as MOVEMENTS
from truth_ablation import ablated, summarised
from truth_cases import BREAKINGS, DISTRIBUTIONS, KNOWN, Case, of_invariants
from truth_maps import MAPS
from truth_names import CONDITIONS, DEGREES, cases, disturbed, verdict
from truth_networks import control, trained
from truth_pairs import TRAINED_MAPS, PairCase, map_case, pair_control, system_case, trained_map
from truth_systems import SYSTEMS

import symscope as ss
from symscope import algebra
from symscope.decide.decision import TOLERANCE
from symscope.reports.equivariance import EquivariantSymmetries

RESULTS = Path(__file__).parents[1] / "data" / "truth.csv"
ABLATION = RESULTS.with_name("truth_ablation.csv")
# A broken algebra is one where its largest change on twenty times the data is at most this share
# of the tolerance, and none where it is this much above; between the two either answer is right.
SMALL, LARGE = 1 / 1.5, 1.5
NAMED_WITHIN = 2.0  # degrees
TRAINED = ("so(2)", "so(3)", "so(1,1)", "scaling", "so(2) + so(2)", "so(2), one ignored")
LEAST_ERROR = 1e-3  # of the variance, unexplained by a network that counts as trained
CONTROLS, PAIR_CONTROLS = 240, 60
NAN = float("nan")
Job = Callable[[], list["Answer"]]


@dataclass(frozen=True)
class Answer:
    """What was said of one case, and what is true."""

    name: str
    family: str
    half: str
    broken: float
    directions: int
    true: int
    found: int | None
    answer: str
    angle: float
    bound: float
    true_rho: float
    seconds: float
    shuffled: int | None = None  # the rule before this one
    largest_gap: int | None = None
    share: int | None = None
    names: str = ""  # what it is called, where the count is right
    named: bool | None = None  # whether rightly, where it has a name and the angle is small

    @property
    def right(self) -> bool | None:
        """Whether the count is right; None where either answer would be, or none was asked for."""
        if self.family == "naming":
            return None
        if self.family != "broken" or self.true_rho <= SMALL * TOLERANCE:
            return self.found == self.true
        return None if self.true_rho < LARGE * TOLERANCE else self.found != self.true


def before(found: ss.Symmetries) -> int:
    """The largest gap of at least 3 whose variance is below all of the shuffled pairing's."""
    assert found.shuffled is not None
    gaps = found.liegg.gaps
    below = found.liegg.variance[:-1] < found.shuffled.liegg.variance.min()
    gaps = gaps.where(below & (gaps >= 3), torch.zeros(()).to(gaps))
    return int(gaps.argmax()) + 1 if gaps.any() else 0


def largest_gap(found: ss.Symmetries) -> int:
    """The directions before the largest ratio of neighbouring singular values."""
    return int(found.liegg.gaps.argmax()) + 1


def share(found: ss.Symmetries, part: float = 0.1) -> int:
    """The directions whose singular value is less than a tenth of the mean."""
    singular = found.liegg.variance.sqrt()
    return int((singular < part * singular.mean()).sum())


def judge(case: Case, mode: str = "auto") -> Answer:
    """Ask about a case and hold the answer to the truth."""
    start = time.perf_counter()
    found = ss.learned_symmetries(case.function, case.data, action=case.action, mode=mode)
    seconds = time.perf_counter() - start
    assert mode != "combined" or (found.mode and found.mode.name == mode)
    true, angle, names, named = len(case.truth), NAN, "", None
    if true and found.count == true:
        angle = float(algebra.principal_angles(found.symmetries, case.truth).max())
        known = ss.name_algebra(found.symmetries).names
        names = " = ".join(known)
        if case.named and angle <= NAMED_WITHIN:
            named = case.named in known
    bound = rho = NAN
    if true and case.family in ("broken", "trained"):
        much = ss.learned_symmetries(
            case.function, case.larger, action=case.action, seed=1, mode="exact"
        )
        if true <= min(len(much.relative), len(found.bound)):
            rho, bound = float(much.relative[true - 1]), float(found.bound[true - 1])
    return Answer(
        case.name, case.family, case.half, case.broken, len(found.action.basis), true, found.count,
        found.level, angle, bound, rho, seconds, before(found), largest_gap(found), share(found),
        names, named,
    )  # fmt: skip


def judge_pairs(case: PairCase) -> Answer:
    """The same of a map or a system, of which other rules say nothing."""
    start = time.perf_counter()
    found = case.ask()
    seconds = time.perf_counter() - start
    true, angle, names, named = case.dimension, NAN, "", None
    if true and found.count == true:
        angle = float(case.angles(found).max())
        if case.named and angle <= NAMED_WITHIN:
            if isinstance(found, EquivariantSymmetries):
                known = ss.name_algebra(found.on_inputs).names
            else:
                known = ss.name_algebra(found.symmetries).names
            names, named = " = ".join(known), case.named in known
    return Answer(
        case.name, case.family, case.half, case.broken, len(found.relative), true, found.count,
        found.level, angle, NAN, NAN, seconds, names=names, named=named,
    )  # fmt: skip


def judge_plane(ask: Callable[[], Result], seed: int, family: str = "image plane") -> Answer:
    """The same of an image network, along six directions."""
    start = time.perf_counter()
    name, true, found, angle, answer = ask()
    half, seconds = "judged" if seed % 2 else "tuning", time.perf_counter() - start
    return Answer(name, family, half, 0.0, 6, true, found, answer, angle, NAN, NAN, seconds)


def judge_name(label: str, condition: float, degrees: float) -> Answer:
    """What an algebra is called whose span is off by an angle."""
    case = cases()[label]
    basis, start = disturbed(label, case, condition, degrees), time.perf_counter()
    found = ss.name_algebra(basis)
    seconds, size = time.perf_counter() - start, len(basis)
    answer = verdict(case.name, found.names, found.certain)
    return Answer(
        f"{label}, condition {condition:g}", "naming", "judged", 0.0, basis[0].numel(), size, size,
        answer, degrees, NAN, NAN, seconds, names=" = ".join(found.names),
        named={"right": True, "wrong": False}.get(answer),
    )  # fmt: skip


def exact(name: str, seed: int, outputs: int = 0) -> list[Case]:
    """A function of invariants, on data that the seed tells, as are the outputs if not given."""
    distribution = DISTRIBUTIONS[seed % len(DISTRIBUTIONS)]
    samples = (1500, 4000, 600)[seed % 3]
    dtype = (torch.float64, torch.float32)[(seed // 2) % 2]
    outputs = outputs or (1, 1, 3)[(seed // 3) % 3]
    return [
        of_invariants(
            name, seed, distribution=distribution, samples=samples, dtype=dtype, outputs=outputs
        )
    ]


def broken(name: str, part: float, seed: int, outputs: int = 1) -> list[Case]:
    """The same with a part that has no symmetry."""
    distribution = DISTRIBUTIONS[seed % len(DISTRIBUTIONS)]
    return [of_invariants(name, seed, distribution=distribution, broken=part, outputs=outputs)]


def taught(name: str, seed: int, outputs: int = 1) -> list[Case]:
    """A network trained on a function of invariants; none where the training fell short."""
    case, error = trained(name, seed, outputs)
    return [case] if error <= LEAST_ERROR else []


def without(seed: int, outputs: int = 0) -> list[Case]:
    """A control, of as many outputs as the seed tells if not given."""
    return [control(seed, outputs)]


def makers(quick: bool = False) -> list[partial[list[Case]]]:
    """Each makes a case of invariance; the last argument is the seed, ``outputs`` may be set."""
    many = 2 if quick else 10
    names = list(KNOWN)
    found = [partial(exact, name, seed) for seed in range(many) for name in names]
    fewer = names[:8:3] if quick else [n for n in names if "ignored" not in n]
    steps = BREAKINGS[::3] if quick else BREAKINGS
    for place, name in enumerate(fewer):
        found += [partial(broken, name, part, 2 * place + k % 2) for k, part in enumerate(steps)]
    found += [
        partial(taught, name, 10 + seed) for seed in range(0 if quick else 4) for name in TRAINED
    ]
    return found + [partial(without, seed) for seed in range(20 if quick else CONTROLS)]


def _judged(make: Callable[[], list[Case]]) -> list[Answer]:
    return [judge(case) for case in make()]


def _map(name: str, seed: int) -> list[Answer]:
    return [judge_pairs(map_case(name, seed))]


def _system(name: str, seed: int) -> list[Answer]:
    return [judge_pairs(system_case(name, seed))]


def _trained_map(name: str, seed: int) -> list[Answer]:
    case, error = trained_map(name, seed)
    return [judge_pairs(case)] if error <= LEAST_ERROR else []


def _pair_control(seed: int) -> list[Answer]:
    case, rho = pair_control(seed)
    return [judge_pairs(case)] if rho >= LARGE * TOLERANCE else []


def _built(invariance: str, seed: int) -> list[Answer]:
    return [judge_plane(partial(constructed, invariance, seed), seed)]


def _searched(invariance: str, seed: int) -> list[Answer]:
    return [judge_plane(partial(searched, invariance, seed), seed, "finite flow")]


def _name(label: str, condition: float, degrees: float) -> list[Answer]:
    return [judge_name(label, condition, degrees)]


def _learned(movement: str | None, seed: int) -> list[Answer]:
    return [judge_plane(partial(learned, "embedded", movement, seed), seed)]


def jobs(quick: bool = False) -> list[Job]:
    """Every case, as a function that answers it; a few of each kind for the quick part."""
    found: list[Job] = [partial(_judged, make) for make in makers(quick)]
    found += _pair_jobs(quick) + _plane_jobs(quick)
    if not quick:
        found += [partial(_name, n, c, d) for c in CONDITIONS for d in DEGREES for n in cases()]
    return found


def _pair_jobs(quick: bool) -> list[Job]:
    seeds, step = range(2 if quick else 4), 3 if quick else 1
    found: list[Job] = [partial(_map, name, s) for s in seeds for name in list(MAPS)[::step]]
    found += [partial(_system, name, s) for s in seeds for name in list(SYSTEMS)[::step]]
    if not quick:
        found += [partial(_trained_map, name, 10 + s) for s in seeds for name in TRAINED_MAPS]
    return found + [partial(_pair_control, s) for s in range(4 if quick else PAIR_CONTROLS)]


def _plane_jobs(quick: bool) -> list[Job]:
    if quick:
        return [partial(_built, invariance, 0) for invariance in list(INVARIANCES)[:2]]
    found: list[Job] = [partial(_built, name, seed) for seed in range(4) for name in INVARIANCES]
    found += [partial(_searched, n, 1) for n in INVARIANCES if len(algebra_of(n)) == 1]
    return found + [partial(_learned, m, seed) for seed in range(2) for m in (None, *MOVEMENTS)]


def _run(job: Callable[[], list]) -> list:
    torch.set_num_threads(1)
    return job()


def spread(jobs: Iterable[Callable[[], list]], workers: int = 2) -> list[list]:
    """What all jobs give, in processes of their own."""
    with get_context("spawn").Pool(workers) as pool:
        return pool.map(_run, list(jobs), chunksize=4)


def run(asked: Iterable[Job], workers: int = 2) -> pandas.DataFrame:
    """All answers, a row each."""
    return answered(spread(asked, workers))


def answered(found: Iterable[list[Answer]]) -> pandas.DataFrame:
    """Answers as a table, a row each."""
    answers = [answer for some in found for answer in some]
    rows = [{**vars(answer), "right": answer.right} for answer in answers]
    return pandas.DataFrame(rows)


def table(answers: pandas.DataFrame) -> pandas.DataFrame:
    """Shares of right counts by family and half, beside those of other rules."""
    judged = answers[answers["right"].notna()].copy()
    lost = (judged.family == "broken") & (judged.true_rho >= LARGE * TOLERANCE)
    for rule in ("shuffled", "largest_gap", "share"):
        right = (judged[rule] == judged.true) != lost
        judged[rule] = right.astype(float).where(judged[rule].notna())
    judged["right"] = judged["right"].astype(bool)
    shown = judged.groupby(["family", "half"])[["right", "shuffled", "largest_gap", "share"]].mean()
    shown.insert(0, "cases", judged.groupby(["family", "half"]).size())
    shown["named"] = answers[answers.named.notna()].groupby(["family", "half"]).named.mean()
    return shown


def coverage(answers: pandas.DataFrame) -> float:
    """The share of upper bounds that the change on twenty times the data does not pass."""
    covered = answers[answers.true_rho.notna()]
    return float((covered.bound >= covered.true_rho).mean())


def main() -> None:
    """Run all, write the answers, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few cases of each kind")
    parser.add_argument("--ablation", action="store_true", help="other constants, tuning half")
    arguments = parser.parse_args()
    start = time.perf_counter()
    if arguments.ablation:
        made = [make for make in makers(arguments.quick) if make.args[-1] % 2 == 0]
        told = pandas.DataFrame(sum(spread([partial(ablated, make) for make in made]), []))
        summary = summarised(told)
        if not arguments.quick:
            summary.to_csv(ABLATION, index=False, float_format="%.4g")
        print(summary.to_string(index=False))
        print(f"{len(made)} cases in {time.perf_counter() - start:.0f} s")
        return
    answers = run(jobs(arguments.quick))
    if not arguments.quick:
        answers.to_csv(RESULTS, index=False, float_format="%.3g")
    print(table(answers).round(3).to_string())
    naming = answers[answers.family == "naming"]
    if len(naming):
        stretched = naming.name.str.extract(r"condition (\d+)$")[0].rename("condition")
        print(pandas.crosstab([stretched, naming.angle.rename("degrees")], naming.answer))
    print(f"bounds that cover: {coverage(answers):.3f} of {answers.true_rho.notna().sum()}")
    print(f"{len(answers)} cases in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
