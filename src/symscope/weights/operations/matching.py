"""A learned matrix beside the known operations, with what chance alone would score."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

from ..._checks import whole
from ...data import images
from ...kernels import ops
from ..cyclic import random_orthogonal
from .matrices import known_operations
from .structure import scores

if TYPE_CHECKING:
    import pandas
    from jaxtyping import Float
    from torch import Tensor

# Smaller differences than this between a score and its null are rounding: a score that a null
# leaves as it is, by construction, must have p = 1.
_ROUNDING = 1e-6


def match_operations(
    generator: Float[Tensor, "d d"],
    patch: int = 6,
    *,
    filters: Float[Tensor, "k d"] | None = None,
    order: int | None = None,
    atoms: Float[Tensor, "j k n d"] | None = None,
    untrained: Float[Tensor, "b d d"] | None = None,
    known: dict[str, Float[Tensor, "d d"]] | None = None,
    draws: int = 200,
    seed: int = 0,
) -> pandas.DataFrame:
    """Which known operation a generator is, its structure scores, and the nulls of both.

    One row a quantity, for the whole of A and, where ``filters`` and ``order`` are given, for the
    part of it that the loss sees (:func:`seen_part`). The quantities are ``match``, the largest
    absolute cosine (Frobenius) with a known operation, absolute because codes of either sign
    cannot tell A from -A; and the scores of :func:`scores`. On the seen part the known
    operations are restricted to the same subspace, and the orthogonality defect, which has no
    meaning there, is left out.

    A score means nothing alone (the identity has a cosine of 0.8 with the linear part of a median
    filter), so each stands beside nulls:

    - ``conjugated``: Q A Q^T, Q a random rotation of R^d: the same eigenvalues, order and
      orthogonality, at random to the pixels.
    - ``singular``: Q A R^T with independent Q, R: the same singular values; if A is
      orthogonal, a random orthogonal matrix.
    - ``gaussian``: independent normal entries (its norm does not matter to any score).
    - ``untrained``: generators handed in, those of the same network before training; on the
      seen part they act on the filters given.
    - ``regrouped``: matrices fitted to the learned atoms grouped into orbits at random
      (:func:`regrouped`); for the seen part only, since it says nothing about the rest.

    Args:
        generator: (d, d) with d = patch * patch.
        patch: pixels a side; default 6.
        filters: (K, d), the base filters that the generator moves.
        order: n, the elements of an orbit.
        atoms: (J, K, n, d), what the whole orbit module returns.
        untrained: (B, d, d).
        known: name to matrix; default :func:`known_operations`, its median fitted on the patches
            of the five photographs of :mod:`symscope.data.images`.
        draws: random matrices in a null; default 200.
        seed: of the nulls; default 0. The global random state is left alone.

    Returns:
        Columns ``part`` ("whole" or "seen"), ``quantity``, ``value``, ``operation`` (the best
        match, else empty), ``cosine`` (its signed cosine, else NaN) and, for each null, its
        median and its p-value ``p_NULL``: the share of draws, counted with the value itself, that
        score at least as high (for the orthogonality defect: as low). NaN where a null was not
        asked for.

    Raises:
        ValueError: if the generator does not fit the patch, draws or order is below 1, filters
            come without an order or the other way round, or any argument does not fit the rest.
        DatasetError: if ``known`` is left out and scikit-image, whose photographs the median is
            fitted on, is not installed.
    """
    import pandas

    whole("patch", patch, 1)
    whole("draws", draws, 1)
    d = patch * patch
    if generator.shape != (d, d):
        raise ValueError(
            f"generator must be ({d}, {d}) for patches of {patch} x {patch} pixels, "
            f"got {tuple(generator.shape)}"
        )
    if (filters is None) != (order is None):
        raise ValueError("filters and order go together: give both, or neither")
    if atoms is not None and filters is None:
        raise ValueError("atoms need filters and order: regrouping is a null of the seen part")
    for name, given in (("filters", filters), ("atoms", atoms), ("untrained", untrained)):
        if given is not None and given.shape[-1] != d:
            raise ValueError(f"{name} must be of (..., {d}), got {tuple(given.shape)}")
    generator = generator.detach().double().cpu()[None]
    known = of_photographs(patch) if known is None else known
    draw = torch.Generator().manual_seed(seed)
    left, right = random_orthogonal(draws, d, draw), random_orthogonal(draws, d, draw)
    nulls = {
        "conjugated": left @ generator @ left.mT,
        "singular": left @ generator @ right.mT,
        "gaussian": torch.randn(draws, d, d, generator=draw, dtype=torch.float64),
        "untrained": None if untrained is None else untrained.detach().double().cpu(),
    }
    everything = torch.eye(d, dtype=torch.float64)[None]
    parts = {"whole": (generator, everything, {k: (v, everything) for k, v in nulls.items()})}
    if filters is not None:
        whole("order", order, 1)
        filters = filters.detach().double().cpu()
        space = _seen_space(generator, filters, order)
        moved = {
            name: (value, None if value is None else _seen_space(value, filters, order))
            for name, value in nulls.items()
        }
        if atoms is not None:
            moved["regrouped"] = regrouped(atoms, draws, seed)
        parts["seen"] = (
            generator @ space,
            space,
            {
                name: (value if value is None else value @ there, there)
                for name, (value, there) in moved.items()
            },
        )

    rows = []
    for part, (matrix, space, null_of) in parts.items():
        found, cosine = _quantities(matrix, space, known, patch, part)
        chance = {
            name: _quantities(value, there, known, patch, part)[0]
            for name, (value, there) in null_of.items()
            if value is not None
        }
        best = int(cosine[0].abs().argmax())
        for quantity, value in found.items():
            row = {"part": part, "quantity": quantity, "value": float(value)}
            row["operation"] = list(known)[best] if quantity == "match" else ""
            row["cosine"] = float(cosine[0, best]) if quantity == "match" else float("nan")
            for name in (*nulls, "regrouped"):
                drawn = chance[name][quantity] if name in chance else None
                row[name] = float("nan") if drawn is None else float(drawn.median())
                row[f"p_{name}"] = float("nan") if drawn is None else _p(quantity, value, drawn)
            rows.append(row)
    return pandas.DataFrame(rows)


@functools.cache
def of_photographs(patch: int) -> dict[str, Float[Tensor, "d d"]]:
    """The known operations, with the median as it is on photographs; kept, so not to be changed."""
    return known_operations(patch, images.tiles(images.photographs(), patch))


def seen_part(
    generator: Float[Tensor, "d d"], filters: Float[Tensor, "k d"], order: int
) -> Float[Tensor, "d d"]:
    """The part of A that the filters' orbits, and so the loss, depend on: ``A U U^T``.

    U is an orthonormal basis of the span of w, A w, .., A^(n-2) w over the filters w that share
    A. Two generators that agree on it make the same orbits; for n = 1 it is zero. A matrix that
    the loss never saw elsewhere must not be scored there.

    Args:
        generator: (d, d).
        filters: (K, d).
        order: n, at least 1.

    Raises:
        ValueError: for shapes that do not fit, or an order below 1.
    """
    whole("order", order, 1)
    d = generator.shape[-1]
    if generator.shape != (d, d) or filters.ndim != 2 or filters.shape[1] != d:
        raise ValueError(
            "generator must be (d, d) and filters (K, d), got "
            f"{tuple(generator.shape)} and {tuple(filters.shape)}"
        )
    generator = generator.detach().double()
    return generator @ _seen_space(generator[None], filters.detach().double(), order)[0]


def refit(
    orbits: Float[Tensor, "*b k n d"],
) -> tuple[Float[Tensor, "*b d d"], Float[Tensor, "*b d d"]]:
    """The matrix of least norm that best takes each element of given orbits to the next.

    Least squares over the K orbits of each batch element, n - 1 steps each, which one matrix
    fits exactly as long as the K (n - 1) first elements are independent. It is zero off
    their span; the second result is the projection onto that span. Of learned atoms in
    their own orbits it is the seen part again (up to the normalisation of each element).
    """
    orbits = orbits.detach().double().cpu()
    here, there = (x.flatten(-3, -2).mT for x in (orbits[..., :-1, :], orbits[..., 1:, :]))
    inverse = torch.linalg.pinv(here, rtol=_RANK)
    return there @ inverse, here @ inverse


def regrouped(
    atoms: Float[Tensor, "j k n d"], draws: int, seed: int = 0
) -> tuple[Float[Tensor, "draws d d"], Float[Tensor, "draws d d"]]:
    """The null of orbits: all atoms of all sets shuffled into orbits of the same sizes, refitted.

    Returns:
        ``draws`` matrices as :func:`refit` gives them, and the projections.
    """
    sets, k, n, d = atoms.shape
    draw = torch.Generator().manual_seed(seed)
    flat = atoms.detach().reshape(-1, d)
    rounds = -(-draws // sets)
    shuffled = [flat[torch.randperm(len(flat), generator=draw)] for _ in range(rounds)]
    matrices, spaces = refit(torch.stack(shuffled).reshape(-1, k, n, d))
    return matrices[:draws], spaces[:draws]


_RANK = 1e-4  # of the largest singular value: what counts as a direction of an orbit


def _seen_space(
    generators: Float[Tensor, "b d d"], filters: Float[Tensor, "k d"], order: int
) -> Float[Tensor, "b d d"]:
    """Projections onto the span of the first n - 1 elements of the filters' orbits."""
    count, d, _ = generators.shape
    if order == 1:
        return torch.zeros_like(generators)
    orbit = ops.orbits(filters.expand(count, -1, -1), generators, order - 1)
    orbit = torch.nn.functional.normalize(orbit, dim=-1).reshape(count, -1, d)
    _, size, directions = torch.linalg.svd(orbit, full_matrices=False)
    kept = directions * (size > _RANK * size[:, :1])[..., None]
    return kept.mT @ kept


def _quantities(
    matrices: Float[Tensor, "b d d"],
    spaces: Float[Tensor, "#b d d"],
    known: dict[str, Float[Tensor, "d d"]],
    patch: int,
    part: str,
) -> tuple[dict[str, Float[Tensor, " b"]], Float[Tensor, "b m"]]:
    """The best match and the scores of each matrix, and its cosine with every operation."""
    operations = torch.stack(list(known.values())).to(matrices)
    # A = A S and M S with S a projection: <A, M S> = <A, M>, and |M S|^2 = <M^T M, S>.
    inner = matrices.flatten(1) @ operations.flatten(1).T
    squares = spaces.flatten(1) @ (operations.mT @ operations).flatten(1).T
    norms = matrices.flatten(1).norm(dim=1)[:, None] * squares.clamp(min=0).sqrt()
    cosine = torch.where(norms > 0, inner / norms, 0.0)
    found = {"match": cosine.abs().amax(1)} | scores(matrices, patch)
    if part == "seen":
        del found["orthogonality_defect"]
    return found, cosine


def _p(quantity: str, value: Float[Tensor, ""], drawn: Float[Tensor, " b"]) -> float:
    """The share of draws, with the value itself, that are at least as extreme."""
    sign = -1 if quantity == "orthogonality_defect" else 1
    beyond = int((sign * drawn >= sign * value - _ROUNDING).sum())
    return (1 + beyond) / (1 + len(drawn))
