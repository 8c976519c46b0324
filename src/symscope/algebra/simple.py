"""The names of the real simple Lie algebras, by dimension and Killing signature."""

from __future__ import annotations

import math
from functools import cache

from . import matrices as algebra
from .structure import Piece, algebra_of


def simple_names(piece: Piece) -> tuple[str, ...]:
    """The names of a simple algebra by its dimension and signature; none if it has none here."""
    if piece.complex:
        half = piece.dimension // 2
        found = [("A", "so(1,3)")] if half == 3 else []
        complexified = {"su": "sl", "so": "so", "usp": "sp"}
        compact = [form for form in _real_forms(half) if form[2] == 0]
        for family, name, _ in sorted(compact, key=lambda form: form[1][:2] != "su"):
            kind, _, size = name[:-1].partition("(")
            if kind in complexified:
                found.append((family, f"{complexified[kind]}({size},C)"))
    else:
        half = piece.dimension
        forms = _real_forms(half)
        found = [form[:2] for form in forms if form[2] == piece.positive]
    if half > 10 and {"B", "C"} <= {family for family, _ in found}:
        # so(2n+1) and sp(2n) differ in the lengths of their roots alone.
        miss = {family: abs(piece.quartic - _quartic(family, half)) for family in "BC"}
        nearest = min(miss, key=miss.__getitem__)
        clear = miss[nearest] < 0.3 * sum(miss.values())
        found = [form for form in found if form[0] == nearest and clear]
    return tuple(name for _, name in found[:3])


def _real_forms(d: int) -> list[tuple[str, str, int]]:
    """Simple algebras of dimension d: family, name, positive Killing directions.

    Source: Helgason (1978), Differential Geometry, Lie Groups and Symmetric Spaces, ch. X.
    """
    forms = []
    root = math.isqrt(d + 1)  # of sl(n), n^2 - 1
    half = (math.isqrt(8 * d + 1) + 1) // 2  # of so(n), n (n - 1) / 2; and of sp(n - 1)
    if root >= 2 and root**2 - 1 == d:
        forms.append(("A", f"sl({root})", root * (root + 1) // 2 - 1))
    if half * (half - 1) // 2 == d and half >= 3 and half != 4:
        family = "B" if half % 2 else "D"
        for p in range(half // 2 + 1):
            name = f"so({p},{half - p})" if p else f"so({half})"
            forms.append((family, name, p * (half - p)))
        if half % 2:
            m = half // 2
            forms.append(("C", f"sp({2 * m})", m * (m + 1)))
            for p in range(m // 2 + 1 if m > 1 else 0):  # usp(2) is su(2)
                name = f"usp({2 * p},{2 * m - 2 * p})" if p else f"usp({2 * m})"
                forms.append(("C", name, 4 * p * (m - p)))
        elif half > 6:
            forms.append(("D", f"so*({half})", half * (half - 2) // 4))
    if root >= 2 and root**2 - 1 == d:
        for p in range(root // 2 + 1):
            name = f"su({p},{root - p})" if p else f"su({root})"
            forms.append(("A", name, 2 * p * (root - p)))
        if root % 2 == 0 and root > 2:
            m = root // 2
            forms.append(("A", f"sl({m},H)", m * (2 * m - 1) - 1))
    if d == 14:
        forms += [("G", "g2", 0), ("G", "split g2", 8)]
    return forms


@cache
def _quartic(family: str, dimension: int) -> float:
    """The number by which so(2n+1) and sp(2n) of a dimension are told apart."""
    n = (math.isqrt(8 * dimension + 1) - 1) // 4
    known = algebra.so(2 * n + 1) if family == "B" else algebra.sp(2 * n)
    return algebra_of(known)[0].pieces(0.1)[0][0].quartic
