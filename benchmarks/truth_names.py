"""Algebras that no constant of naming was chosen on: what they are called, tilted and stretched.

The list was committed before it was run. Constants were chosen on other algebras and actions
(tests/naming_cases.py holds their kinds); whoever changes one after a look at the answers below
needs another list.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor

from symscope import algebra
from symscope.algebra.matrices import bracket, homogeneous, orthonormal

CONDITIONS, DEGREES = (1.0, 10.0), (0.0, 0.1, 1.0, 5.0)


class Named(NamedTuple):
    """An algebra, one of its names, and whether its last coordinate is the homogeneous one."""

    name: str
    basis: Tensor
    affine: bool = False


def adjoint(basis: Tensor) -> Tensor:
    """The algebra acting on itself by the bracket."""
    basis = orthonormal(basis)
    constants = bracket(basis[:, None], basis[None]).flatten(2) @ basis.flatten(1).T
    return constants.mT


def blocks(*bases: Tensor) -> Tensor:
    """A direct sum, each algebra on coordinates of its own."""
    size, parts, start = sum(basis.shape[1] for basis in bases), [], 0
    for basis in bases:
        n = basis.shape[1]
        parts.append(torch.nn.functional.pad(basis, (start, size - start - n) * 2))
        start += n
    return torch.cat(parts)


def copies(basis: Tensor, m: int) -> Tensor:
    """The same matrix on m vectors at once."""
    return torch.stack([torch.kron(torch.eye(m).double(), x) for x in basis])


def dual_beside(basis: Tensor) -> Tensor:
    """Vectors beside linear forms."""
    pad, n = torch.nn.functional.pad, basis.shape[1]
    return pad(basis, (0, n, 0, n)) - pad(basis.mT, (n, 0, n, 0))


def powers(basis: Tensor, degree: int, traceless: bool = False) -> Tensor:
    """The action on symmetric tensors of a degree; of two, perhaps on the traceless ones."""
    n = basis.shape[1]
    tensors = torch.eye(n**degree, dtype=torch.float64).reshape(-1, *[n] * degree)
    orders = [[1 + place for place in order] for order in _orders(range(degree))]
    even = torch.stack([tensors.permute(0, *order) for order in orders]).sum(0)
    if traceless:
        trace = torch.einsum("kii->k", even)[:, None, None]
        even = even - trace * torch.eye(n, dtype=torch.float64) / n
    frame = orthonormal(even).flatten(1)
    one = torch.eye(n, dtype=torch.float64)
    found = []
    for x in basis:
        total = torch.zeros(n**degree, n**degree, dtype=torch.float64)
        for place in range(degree):
            factor = torch.ones(1, 1, dtype=torch.float64)
            for at in range(degree):
                factor = torch.kron(factor, x.contiguous() if at == place else one)
            total += factor
        found.append(frame @ total @ frame.T)
    return torch.stack(found)


def _orders(places: range) -> list[tuple[int, ...]]:
    from itertools import permutations

    return list(permutations(places))


def unitary(p: int, q: int = 0, special: bool = True) -> Tensor:
    """su(p, q) or u(p, q) on R^2n: what commutes with i and keeps a Hermitian form."""
    n = p + q
    zero, one = torch.zeros(n, n).double(), torch.eye(n).double()
    i = torch.cat([torch.cat([zero, -one], 1), torch.cat([one, zero], 1)])
    form = torch.diag(torch.tensor([1.0] * p + [-1.0] * q).double())
    form = torch.block_diag(form, form)
    units = torch.eye(4 * n * n, dtype=torch.float64).reshape(-1, 2 * n, 2 * n)
    conditions = [bracket(units, i).flatten(1), (units.mT @ form + form @ units).flatten(1)]
    if special:
        conditions.append(torch.einsum("kij,ji->k", units, i)[:, None])
    return _kernel(torch.cat(conditions, 1), units)


def _kernel(conditions: Tensor, units: Tensor) -> Tensor:
    """The combinations of units along which all conditions vanish."""
    left, values, _ = torch.linalg.svd(conditions, full_matrices=True)
    rank = int((values > 1e-9).sum())
    return torch.tensordot(left[:, rank:].T, units, 1)


def quaternionic(n: int) -> Tensor:
    """usp(2n) on R^4n: the part of u(2n) that keeps a complex symplectic form."""
    units = unitary(2 * n, special=False)
    one = torch.eye(n).double()
    j = torch.kron(torch.tensor([[0.0, 1], [-1, 0]]).double(), one)
    form = torch.block_diag(j, -j)  # its real part, as a real form on real and imaginary parts
    return _kernel((units.mT @ form + form @ units).flatten(1), units)


def octonions() -> Tensor:
    """g2 on R^7: what keeps the product of imaginary octonions, as a form of degree three."""
    form = torch.zeros(7, 7, 7, dtype=torch.float64)
    for lines in ((0, 1, 2), (0, 3, 4), (0, 6, 5), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 5, 4)):
        for order in _orders(range(3)):
            sign = 1.0 if order in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) else -1.0
            form[tuple(lines[place] for place in order)] = sign
    units = algebra.gl(7)
    rules = ("kai,ajl->kijl", "kaj,ial->kijl", "kal,ija->kijl")
    moved = torch.stack([torch.einsum(rule, units, form) for rule in rules]).sum(0)
    return _kernel(moved.flatten(1), units)


def complex_special(n: int) -> Tensor:
    """sl(n, C) on R^2n."""
    sl, one = algebra.sl(n), torch.eye(2).double()
    turn = torch.tensor([[0.0, -1], [1, 0]]).double()
    return torch.stack([torch.kron(part, x.contiguous()) for part in (one, turn) for x in sl])


def affine_of(basis: Tensor) -> Tensor:
    """With all translations."""
    return torch.cat([homogeneous(basis), algebra.translations(basis.shape[1])])


def with_scaling(basis: Tensor) -> Tensor:
    """With the scaling of the whole space."""
    return torch.cat([basis, algebra.scaling(basis.shape[1])])


def diagonal(n: int, traceless: bool = False) -> Tensor:
    """The diagonal matrices."""
    rows = torch.eye(n, dtype=torch.float64)
    return torch.diag_embed(rows[1:] - rows[:1] if traceless else rows)


def jacobi() -> Tensor:
    """sl(2) and the Heisenberg algebra that it acts on, in sp(4)."""
    j = torch.tensor([[0.0, 1], [-1, 0]]).double()
    found = list(torch.nn.functional.pad(algebra.sl(2), (1, 1, 1, 1)))
    for v in torch.eye(2, dtype=torch.float64):
        x = torch.zeros(4, 4, dtype=torch.float64)
        x[0, 1:3], x[1:3, 3] = j @ v, v
        found.append(x)
    centre = torch.zeros(4, 4, dtype=torch.float64)
    centre[0, 3] = 1.0
    return torch.stack([*found, centre])


def frames() -> Tensor:
    """Rotations, and translations of two vectors."""
    pad = torch.nn.functional.pad
    units = torch.eye(6, dtype=torch.float64).reshape(6, 3, 2)
    return torch.cat([pad(algebra.so(3), (0, 2, 0, 2)), pad(units, (3, 0, 0, 2))])


def triangular(n: int) -> Tensor:
    """Strictly upper triangular matrices."""
    i, j = torch.triu_indices(n, n, offset=1)
    return algebra.gl(n).reshape(n, n, n, n)[i, j]


def cases() -> dict[str, Named]:
    """All of them."""
    a, turn = algebra, algebra.so(2)
    sl2 = a.sl(2)
    return {
        "so(2), unlike frequencies": Named("so(2)", torch.block_diag(turn[0], 2 * turn[0])[None]),
        "so(2), three copies": Named("so(2)", copies(turn, 3)),
        "so(1,1)": Named("R", a.so(1, 1)),
        "scaling of R^2": Named("scaling", a.scaling(2)),
        "scaling of R^7": Named("scaling", a.scaling(7)),
        "translations of R^4": Named("translations(4)", a.translations(4), True),
        "diagonal, traceless": Named("R^2", diagonal(3, traceless=True)),
        "diagonal of R^4": Named("scaling + R^3", diagonal(4)),
        "three turns": Named("so(2) + so(2) + so(2)", blocks(turn, turn, turn)),
        "so(3), spin 2": Named("so(3)", powers(a.so(3), 2, traceless=True)),
        "so(3), symmetric tensors": Named("so(3)", powers(a.so(3), 2)),
        "so(3), three copies": Named("so(3)", copies(a.so(3), 3)),
        "so(4), two copies": Named("so(4)", copies(a.so(4), 2)),
        "usp(4)": Named("so(5)", quaternionic(2)),
        "su(4)": Named("so(6)", unitary(4)),
        "so(8)": Named("so(8)", a.so(8)),
        "g2": Named("g2", octonions()),
        "so(2,4)": Named("so(2,4)", a.so(2, 4)),
        "so(1,5)": Named("so(1,5)", a.so(1, 5)),
        "so(3,3)": Named("so(3,3)", a.so(3, 3)),
        "su(1,1)": Named("sl(2)", unitary(1, 1)),
        "su(1,2)": Named("su(1,2)", unitary(1, 2)),
        "sl(3,C)": Named("sl(3,C)", complex_special(3)),
        "sl(2), cubics": Named("sl(2)", powers(sl2, 3)),
        "sl(2), two copies": Named("sl(2)", copies(sl2, 2)),
        "sl(3), quadrics": Named("sl(3)", powers(a.sl(3), 2)),
        "sl(3), vectors and forms": Named("sl(3)", dual_beside(a.sl(3))),
        "sl(5)": Named("sl(5)", a.sl(5)),
        "sp(4), adjoint": Named("sp(4)", adjoint(a.sp(4))),
        "gl(2), quadrics": Named("gl(2)", powers(a.gl(2), 2)),
        "gl(4)": Named("gl(4)", a.gl(4)),
        "u(2)": Named("so(3) + so(2)", unitary(2, special=False)),
        "u(3)": Named("su(3) + so(2)", unitary(3, special=False)),
        "so(4) and scaling": Named("so(3) + so(3) + scaling", with_scaling(a.so(4))),
        "so(1,3) and scaling": Named("so(1,3) + scaling", with_scaling(a.so(1, 3))),
        "so(3), so(2) and scaling": Named(
            "so(3) + scaling + so(2)", with_scaling(blocks(a.so(3), turn))
        ),
        "so(3) three times": Named("so(3) + so(3) + so(3)", blocks(*[a.so(3)] * 3)),
        "sl(2) twice": Named("so(2,2)", blocks(sl2, sl2)),
        "sl(3) beside so(3)": Named("sl(3) + so(3)", blocks(a.sl(3), a.so(3))),
        "e(5)": Named("e(5)", a.euclidean(5), True),
        "e(2,2)": Named("e(2,2)", a.euclidean(2, 2), True),
        "e(3), two copies": Named("e(3)", copies(a.euclidean(3), 2)),
        "e(4) with scaling": Named(
            "e(4) with scaling", affine_of(with_scaling(a.so(4))), True
        ),
        "e(1,3) with scaling": Named(
            "e(1,3) with scaling", affine_of(with_scaling(a.so(1, 3))), True
        ),
        "e(2) beside so(2)": Named("e(2) + so(2)", blocks(a.euclidean(2), turn)),
        "e(3) beside sl(2)": Named("sl(2) + e(3)", blocks(a.euclidean(3), sl2)),
        "affine(4)": Named("affine(4)", a.affine(4), True),
        "affine(2), adjoint": Named("affine(2)", adjoint(a.affine(2))),
        "special affine(4)": Named("special affine(4)", affine_of(a.sl(4)), True),
        "affine(1) twice": Named("affine(1) + affine(1)", blocks(a.affine(1), a.affine(1))),
        "scaling and translations": Named(
            "scaling semidirect R^2", affine_of(a.scaling(2)), True
        ),
        "heisenberg(4)": Named("heisenberg(4)", a.heisenberg(4)),
        "heisenberg(2), two copies": Named("heisenberg(2)", copies(a.heisenberg(2), 2)),
        "triangular": Named("nilpotent, of dimension 6", triangular(4)),
        "so(3) beside heisenberg(1)": Named(
            "so(3) + heisenberg(1)", blocks(a.so(3), a.heisenberg(1))
        ),
        "sl(2) beside translations": Named(
            "sl(2) + translations(2)", blocks(sl2, a.translations(2))
        ),
        "sl(2) on heisenberg(1)": Named("sl(2) semidirect heisenberg(1)", jacobi()),
        "so(3) on two vectors": Named("so(3) semidirect R^6", frames()),
    }  # fmt: skip


def disturbed(label: str, case: Named, condition: float, degrees: float) -> Tensor:
    """The algebra in coordinates of a condition number, its span then tilted by an angle."""
    draw = torch.Generator().manual_seed(zlib.crc32(f"{label} {condition} {degrees}".encode()))
    n = case.basis.shape[1]
    linear = n - case.affine
    left, right = torch.linalg.qr(
        torch.randn(2, linear, linear, generator=draw, dtype=torch.float64)
    ).Q
    sizes = torch.logspace(0, math.log10(condition), linear, dtype=torch.float64)
    change = torch.eye(n, dtype=torch.float64)
    change[:linear, :linear] = left * sizes @ right
    basis = orthonormal(change @ case.basis @ torch.linalg.inv(change))
    flat = basis.flatten(1)
    space = (algebra.affine(n - 1) if case.affine else algebra.gl(n)).flatten(1)
    outside = torch.linalg.svd(space - space @ flat.T @ flat, full_matrices=False)
    normal = outside.Vh[outside.S > 1e-6]
    if not degrees or not len(normal):
        return basis
    tilt = torch.randn(len(flat), len(normal), generator=draw, dtype=torch.float64)
    tilt *= math.tan(math.radians(degrees)) / torch.linalg.matrix_norm(tilt, 2)
    return orthonormal((flat + tilt @ normal).reshape(basis.shape))


def verdict(true: str, names: tuple[str, ...], certain: bool) -> str:
    """ "right", "not named", "wrong", or "vague": true, but says less of what commutes."""
    if not certain:
        return "not named"
    if true in names:
        return "right"
    wanted, said = _parts(true), [_parts(name) for name in names]
    if any(_says_less(each, wanted) for each in said):
        return "vague"
    return "wrong"


def _parts(name: str) -> tuple[Counter[str], Counter[str], int]:
    """The terms of a sum: those with brackets, those without, and the dimensions of the latter."""
    others: Counter[str] = Counter()
    told: Counter[str] = Counter()
    dimension = 0
    for term in name.split(" + "):
        kind, _, size = term.rstrip(")").partition("(")
        if term in ("scaling", "so(2)", "R"):
            told[term] += 1
            dimension += 1
        elif kind == "translations" or kind.startswith("R^"):
            told[term] += 1
            dimension += int(size or kind[2:])
        else:
            others[term] += 1
    return others, told, dimension


def _says_less(said: tuple, wanted: tuple) -> bool:
    claimed = Counter({term: n for term, n in said[1].items() if not term.startswith("R")})
    return said[0] == wanted[0] and said[2] == wanted[2] and claimed <= wanted[1]
