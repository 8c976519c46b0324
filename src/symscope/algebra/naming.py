"""Which Lie algebra a span of matrices is, by its structure, or that it cannot be told."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from .._checks import real
from . import matrices as algebra
from .structure import TUNED, Algebra, Ideal, algebra_of, balanced, complement

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

UNNAMED = "not named at this precision"
LINEAR = tuple(f"sl({n})" for n in range(2, 20))
PAIRS = {"so(3) + so(3)": "so(4)", "sl(2) + sl(2)": "so(2,2)"}


@dataclass(frozen=True)
class Name:
    """What a span of matrices is called, and all numbers that the name rests on.

    Attributes:
        name: such as "so(3) ~ su(2)" (isomorphic algebras, with a tilde between them), "so(4) ~
            so(3) + so(3)" (a direct sum), "e(3) ~ so(3) semidirect R^3"; or "not named at this
            precision".
        certain: whether it has a name.
        reason: why, in words.
        dimension: of the span.
        closure: the closure residual, 0 for an algebra, in the balanced coordinates.
        stretch: the condition number of the change to those coordinates.
        derived, central: dimensions of the derived and of the lower central series.
        centre, radical: their dimensions.
        ideals: the simple ideals of the quotient by the radical.
        votes: share of the thresholds at which each name came out, the largest first.
    """

    name: str
    certain: bool
    reason: str
    dimension: int
    closure: float
    stretch: float
    derived: tuple[int, ...]
    central: tuple[int, ...]
    centre: int
    radical: int
    ideals: tuple[Ideal, ...]
    votes: dict[str, float]

    def __str__(self) -> str:
        return self.name

    @property
    def names(self) -> tuple[str, ...]:
        """Its names apart, ("so(3)", "su(2)")."""
        return tuple(self.name.split(" ~ "))


def name_algebra(basis: Float[Tensor, "k n n"] | Any, *, angle: float = 5.0) -> Name:
    """Name the Lie algebra that a basis of matrices spans, known only up to an error.

    The span is brought to the coordinates of R^n that suit it best. There its structure is read
    off ranks, at thresholds from the closure residual to 0.3; each threshold votes for a name.

    Args:
        basis: (K, n, n), any basis of the span; or a report, whose ``symmetries`` are named.
        angle: degrees by which the span may be off. Only the names of what commutes rest on it
            (scaling, so(2), translations): an error leaves no residual there. Default 5.

    Raises:
        ValueError: for a basis that is empty, not of square matrices, not finite or dependent.

    >>> print(name_algebra(algebra.so(3)))
    so(3) ~ su(2)
    >>> print(name_algebra(algebra.gl(2)))
    gl(2) ~ sl(2) + R
    """
    matrices = _independent(basis if isinstance(basis, torch.Tensor) else basis.symmetries)
    tolerance = math.sin(math.radians(real("angle", angle, above=0.0)))
    better, stretch = balanced(matrices)
    whole, closure = algebra_of(better)
    largest, votes = TUNED.largest_threshold, TUNED.votes
    # An error of size e may leave a residual as small as e^2: it may lead from algebra to algebra.
    least = min(max(closure, min(tolerance, closure**0.5), TUNED.smallest_threshold), largest)
    thresholds = torch.logspace(math.log10(least), math.log10(largest), votes).tolist()
    names = [_name(whole, t, tolerance) for t in thresholds]
    count = Counter(names).most_common()
    winner, times = count[0]
    t = thresholds[max(i for i, name in enumerate(names) if name == winner)]
    if closure * TUNED.least_range > largest:
        reason = f"the span is not closed under the bracket: residual {closure:.2g}"
    elif winner is None:
        reason = "at most thresholds the structure is that of no algebra with a name here"
    elif times < TUNED.least_share * votes:
        reason = f"the thresholds do not agree: {times} of {votes} say {winner}"
    else:
        reason = ""
    certain = not reason
    return Name(
        winner if certain and winner else UNNAMED,
        certain,
        reason or f"{times} of {votes} thresholds from {least:.1g} to {largest} agree",
        len(matrices),
        closure,
        stretch,
        tuple(map(len, whole.derived(t))),
        tuple(map(len, whole.derived(t, lower=True))),
        len(whole.centre(t)),
        len(whole.radical(t)),
        tuple(ideal for ideal, _ in whole.ideals(t)),
        {name or "none": times / votes for name, times in count},
    )


def _independent(basis: Float[Tensor, "k n n"]) -> Float[Tensor, "k n n"]:
    """An orthonormal basis of a span, whose elements must be independent."""
    if basis.ndim != 3 or not len(basis) or basis.shape[1] != basis.shape[2]:
        raise ValueError(
            "basis must hold at least one square matrix, of shape (K, n, n); "
            f"got {tuple(basis.shape)}"
        )
    flat = basis.detach().to("cpu", torch.float64).flatten(1)
    if not torch.isfinite(flat).all():
        raise ValueError("basis must be finite, it holds NaN or infinity")
    rank = len(algebra.orthonormal(flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-300)))
    if rank < len(flat):
        raise ValueError(
            f"basis must be linearly independent: its {len(flat)} matrices span {rank} dimensions; "
            "symscope.algebra.orthonormal drops the others"
        )
    return torch.linalg.qr(flat.T).Q.T.reshape(basis.shape)


def _name(whole: Algebra, t: float, tolerance: float) -> str | None:
    """The name at one threshold; None if the ranks are those of no algebra known here."""
    radical, simple, factors = whole.radical(t), [], []
    for factor, rows in whole.ideals(t):
        names = simple_names(factor)
        if not names:
            return None
        # With the radical it is an ideal; what that derives to in the end is the factor alone,
        # if it acts on the radical by nothing.
        ideal = _span(rows, radical)
        perfect = whole.part(ideal).derived(t)[-1] @ ideal
        if len(perfect) == factor.dimension:
            simple.append(names)
            factors.append(perfect)
    rest = whole
    if factors:
        others = whole.centraliser(_span(*factors), t)
        if len(others) + sum(map(len, factors)) != whole.dimension:
            return None
        rest = whole.part(others)
    # Of the centre, what is no sum of brackets is a direct factor too.
    centre, brackets = rest.centre(t), rest.brackets(t)
    cosines = torch.linalg.svd(centre @ brackets.T)
    apart = cosines.U[:, int((TUNED.inside < cosines.S).sum()) :].T @ centre
    core = rest.part(complement(apart))
    named = _core(core, t) if core.dimension else ()
    if named is None:
        return None
    abelian = rest.part(apart).matrices
    if len(apart) < whole.dimension:  # alone, it may suit other coordinates
        abelian = balanced(algebra.orthonormal(abelian))[0] if len(abelian) else abelian
    return _sum(simple, named, _abelian(abelian, tolerance), len(apart))


def _span(*rows: Float[Tensor, "_ k"]) -> Float[Tensor, "l k"]:
    return torch.linalg.qr(torch.cat(rows).T).Q.T


def _sum(
    simple: list[tuple[str, ...]], core: tuple[str, ...], abelian: str = "", dimension: int = 0
) -> str:
    """A direct sum, with the names that it has as a whole."""
    firsts = sorted((names[0] for names in simple), key=lambda name: (len(name), name))
    if len(firsts) == 1 and firsts[0] in LINEAR and abelian in ("scaling", "R") and not core:
        return f"gl{firsts[0][2:]} ~ {firsts[0]} + R"
    parts = [*firsts, *core[:1], *([abelian] if abelian else [])]
    if len(parts) == 1 and not abelian:
        return " ~ ".join(core or simple[0])
    if not firsts and not core and dimension:  # all commute
        plain = f"R^{dimension}" if dimension > 1 else "R"
        return abelian if abelian == plain else f"{abelian} ~ {plain}"
    whole = " + ".join(parts)
    return f"{PAIRS[whole]} ~ {whole}" if whole in PAIRS else whole


def _abelian(matrices: Float[Tensor, "k n n"], tolerance: float) -> str:
    """What commuting matrices do: scale, turn, translate, or no more than commute."""
    k, n = matrices.shape[:2]
    if not k:
        return ""
    flat = matrices.flatten(1)
    identity = torch.eye(n, dtype=torch.float64).flatten() / n**0.5
    parts = []
    if float((flat @ identity).norm()) > math.sqrt(1 - tolerance**2):
        parts.append("scaling")
        flat = complement((flat @ identity)[None] / (flat @ identity).norm()) @ flat
    rest = flat.reshape(-1, n, n)
    if len(rest) and float((rest + rest.mT).flatten(1).norm(dim=1).max()) < 2 * tolerance:
        parts += ["so(2)"] * len(rest)
    elif len(rest) and float((rest[:, None] @ rest[None]).norm()) < 2 * tolerance * len(rest):
        parts.append(f"translations({len(rest)})")
    elif len(rest):
        parts.append(f"R^{len(rest)}" if len(rest) > 1 else "R")
    return " + ".join(parts)


# --- Simple algebras, by dimension and Killing signature ------------------------------------------


def simple_names(ideal: Ideal) -> tuple[str, ...]:
    """The names of a simple algebra, at most three; none if it has none here."""
    half = ideal.dimension // 2 if ideal.complex else ideal.dimension
    forms = _real_forms(half)
    if ideal.complex:
        found = [("A", "so(1,3)")] if half == 3 else []
        complexified = {"su": "sl", "so": "so", "usp": "sp"}
        compact = [form for form in forms if form[2] == 0]
        for family, name, _ in sorted(compact, key=lambda form: form[1][:2] != "su"):
            kind, _, size = name[:-1].partition("(")
            found.append((family, f"{complexified[kind]}({size},C)"))
    else:
        found = [form[:2] for form in forms if form[2] == ideal.positive]
    if half > 10 and {"B", "C"} <= {family for family, _ in found}:
        # so(2n+1) and sp(2n) differ in the lengths of their roots alone.
        miss = {family: abs(ideal.quartic - _quartic(family, half)) for family in "BC"}
        nearest = min(miss, key=miss.__getitem__)
        clear = miss[nearest] < TUNED.clear * sum(miss.values())
        found = [form for form in found if form[0] == nearest and clear]
    return tuple(name for _, name in found[:3])


def _real_forms(d: int) -> list[tuple[str, str, int]]:
    """Classical simple algebras of dimension d: family, name, positive Killing directions.

    Source: Helgason (1978), Differential Geometry, Lie Groups and Symmetric Spaces, ch. X. Those
    over the quaternions that are no usp(p,q), and the exceptional ones, are left out.
    """
    forms = []
    root = math.isqrt(d + 1)  # of sl(n), n^2 - 1
    half = (math.isqrt(8 * d + 1) + 1) // 2  # of so(n), n (n - 1) / 2; and of sp(n - 1)
    if root >= 2 and root**2 - 1 == d:
        forms.append(("A", f"sl({root})", root * (root + 1) // 2 - 1))
    if half * (half - 1) // 2 == d and half >= 3 and half != 4:
        family = "B" if half % 2 else "D"
        for p in range(half // 2 + 1):
            forms.append((family, f"so({p},{half - p})" if p else f"so({half})", p * (half - p)))
        if half % 2:
            m = half // 2
            forms.append(("C", f"sp({2 * m})", m * (m + 1)))
            for p in range(m // 2 + 1 if m > 1 else 0):  # usp(2) is su(2)
                name = f"usp({2 * p},{2 * m - 2 * p})" if p else f"usp({2 * m})"
                forms.append(("C", name, 4 * p * (m - p)))
    if root >= 2 and root**2 - 1 == d:
        for p in range(root // 2 + 1):
            forms.append(("A", f"su({p},{root - p})" if p else f"su({root})", 2 * p * (root - p)))
    return forms


@cache
def _quartic(family: str, dimension: int) -> float:
    """The number by which so(2n+1) and sp(2n) of a dimension are told apart."""
    n = (math.isqrt(8 * dimension + 1) - 1) // 4
    known = algebra.so(2 * n + 1) if family == "B" else algebra.sp(2 * n)
    return algebra_of(known)[0].ideals(0.1)[0][0].quartic


# --- What does not split off ----------------------------------------------------------------------


def _core(core: Algebra, t: float) -> tuple[str, ...] | None:
    """The names of an algebra of which no simple ideal and no part of the centre splits off."""
    radical, ideals = core.radical(t), core.ideals(t)
    if not ideals:
        return _solvable(core, t)
    simple = [simple_names(ideal) for ideal, _ in ideals]
    if not all(simple) or not len(radical):
        return None
    levi = _sum(simple, ()).split(" ~ ")
    first = levi[-1] if len(simple) > 1 else levi[0]
    ideal = core.part(radical)
    series = [len(rows) for rows in ideal.derived(t)]
    scaled = series[1:] == [series[0] - 1, 0]
    if not scaled and series != [series[0], 0]:
        inner = _solvable(ideal, t)
        return inner and (f"{_bound(first)} semidirect {_bound(inner[0])}",)
    moved = ideal.derived(t)[1] @ radical if scaled else radical
    k = len(moved)
    if max(ideal.dimension for ideal, _ in ideals) > k * k - 1:
        return None  # it would have to act on R^k
    action = torch.einsum("xa,ub,abc,vc->xvu", complement(moved), moved, core.constants, moved)
    action = action - torch.einsum("xvv,uw->xuw", action, torch.eye(k).double()) / k
    plain = f"{_bound(first + (' + R' if scaled else ''))} semidirect R^{k}"
    if f"sl({k})" in levi:
        return (f"affine({k})" if scaled else f"special affine({k})", plain)
    forms = _forms(action, t)
    for name in levi:
        numbers = name.removeprefix("so(").removesuffix(")").split(",")
        vectors = name.startswith("so(") and numbers[-1].isdigit() and forms == (1, 0)
        if vectors and sum(map(int, numbers)) == k:
            return (f"e{name[2:]}{' with scaling' if scaled else ''}", plain)
    return (plain,)


def _bound(name: str) -> str:
    return f"({name})" if " " in name else name


def _forms(action: Float[Tensor, "x k k"], t: float) -> tuple[int, int]:
    """How many symmetric and how many skew bilinear forms matrices leave invariant."""
    k = action.shape[1]
    action = action * (k**0.5 / max(float(action.norm()), 1e-300))
    units = torch.eye(k * k, dtype=torch.float64).reshape(-1, k, k)
    counts = []
    for sign in (1, -1):
        forms = algebra.orthonormal(units + sign * units.mT) if sign > 0 or k > 1 else units[:0]
        pushed = action.mT[:, None] @ forms + forms @ action[:, None]
        values = torch.linalg.svdvals(pushed.mT.movedim(0, 1).flatten(1))
        counts.append(int((values < t).sum()))
    return counts[0], counts[1]


def _solvable(algebra_: Algebra, t: float) -> tuple[str, ...] | None:
    """The names of a solvable algebra."""
    d = algebra_.dimension
    derived, central = algebra_.derived(t), algebra_.derived(t, lower=True)
    if len(derived[-1]):
        return None
    brackets = derived[1]
    k = len(brackets)
    if not k:
        return (f"R^{d}" if d > 1 else "R",)
    if not len(central[-1]):
        if float(torch.linalg.eigvalsh(algebra_.killing).abs().max()) > (1.5 * t) ** 2:
            return None  # the form of a nilpotent algebra is zero; this one is ill-conditioned
        if k == 1 and len(algebra_.centre(t)) == 1 and d % 2:
            return (f"heisenberg({d // 2})",)
        return (f"nilpotent, of dimension {d}",)
    plain = (f"solvable, of dimension {d}",)
    if len(derived) > 3 or (len(derived) == 3 and len(derived[2])):
        return plain  # [g, g] does not commute
    outside = complement(brackets)
    action = torch.einsum("xa,ub,abc,vc->xvu", outside, brackets, algebra_.constants, brackets)
    scale = action.flatten(1).norm(dim=1)
    mean = torch.einsum("xvv->x", action) / k
    pure = action - mean[:, None, None] * torch.eye(k, dtype=torch.float64)
    if d - k == 1 and float(pure.norm()) < t * float(scale):
        return ("affine(1)",) if k == 1 else (f"scaling semidirect R^{k}",)
    if d - k == 1 and k == 2 and float(mean.abs()) * 2**0.5 < t * float(scale):
        turning = float(torch.linalg.det(pure[0])) / float(scale) ** 2
        if abs(turning) > t**2:
            return ("e(2)", "so(2) semidirect R^2") if turning > 0 else ("e(1,1)",)
    if d - k == 2 and k == 2:
        axes = torch.linalg.svd(mean[None]).Vh[1]
        swap = torch.einsum("x,xuv->uv", axes, pure)
        turning = float(torch.linalg.det(swap)) / max(float(swap.norm()) ** 2, 1e-300)
        if turning > t**2:
            return ("e(2) with scaling", "affine(1,C)")
        if turning < -(t**2):
            return ("affine(1) + affine(1)",)
    return plain
