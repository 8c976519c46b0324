"""A learned matrix beside the known operations, with what chance alone would score."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

from symscope._checks import whole
from symscope._draws import stream
from symscope.kernels import ops
from symscope.orbits.cyclic import random_orthogonal

from ...data import images
from .matrices import known_operations
from .structure import scores

if TYPE_CHECKING:
    import pandas
    from jaxtyping import Float
    from torch import Tensor

    # Matrices (B, d, d), and the projections (B or 1, d, d) onto the subspace they are judged on.
    On = tuple[Float[Tensor, "b d d"], Float[Tensor, "#b d d"]]

# Smaller differences than this between a score and its null are rounding: a score that a null
# leaves as it is, by construction, must have p = 1.
ROUNDING = 1e-6
RANK = 1e-4  # of the largest singular value: what counts as a direction of an orbit
NULLS = ("conjugated", "singular", "gaussian", "untrained", "regrouped")


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
            of the five photographs of :mod:`studies.data.images`.
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

    >>> from studies.lgn.operations import identity, rotation
    >>> known = {"rotation 90": rotation(4, 90), "identity": identity(4)}
    >>> table = match_operations(rotation(4, 90), 4, known=known, draws=20)
    >>> table.operation[0], round(float(table.value[0]), 6)
    ('rotation 90', 1.0)
    """
    import pandas

    check_arguments(generator, patch, filters, order, atoms, untrained, draws)
    generator = generator.detach().double().cpu()[None]
    known = of_photographs(patch) if known is None else known
    nulls = random_matrices(generator[0], draws, seed)
    if untrained is not None:
        nulls["untrained"] = untrained.detach().double().cpu()
    everything = torch.eye(patch * patch, dtype=torch.float64)[None]
    chance = {name: (matrices, everything) for name, matrices in nulls.items()}
    rows = compared((generator, everything), chance, known, patch, "whole")
    if filters is not None and order is not None:  # the two go together
        filters = filters.detach().double().cpu()
        chance = {name: on_seen(matrices, filters, order) for name, matrices in nulls.items()}
        if atoms is not None:
            chance["regrouped"] = regrouped(atoms, draws, seed)
        rows += compared(on_seen(generator, filters, order), chance, known, patch, "seen")
    return pandas.DataFrame(rows)


def check_arguments(
    generator: Tensor,
    patch: int,
    filters: Tensor | None,
    order: int | None,
    atoms: Tensor | None,
    untrained: Tensor | None,
    draws: int,
) -> None:
    """Raise ValueError for arguments of :func:`match_operations` that do not fit each other."""
    whole("patch", patch)
    whole("draws", draws)
    d = patch * patch
    if generator.shape != (d, d):
        raise ValueError(
            f"generator must be ({d}, {d}) for patches of {patch} x {patch} pixels, "
            f"got {tuple(generator.shape)}"
        )
    if (filters is None) != (order is None):
        raise ValueError("filters and order go together: give both, or neither")
    if order is not None:
        whole("order", order)
    if atoms is not None and filters is None:
        raise ValueError("atoms need filters and order: regrouping is a null of the seen part")
    for name, given in (
        ("filters", filters),
        ("atoms", atoms),
        ("untrained", untrained),
    ):
        if given is not None and given.shape[-1] != d:
            raise ValueError(f"{name} must be of (..., {d}), got {tuple(given.shape)}")


def random_matrices(
    generator: Float[Tensor, "d d"], draws: int, seed: int
) -> dict[str, Float[Tensor, "draws d d"]]:
    """The nulls that need nothing but the generator: conjugated, singular, gaussian."""
    d, draw = len(generator), stream(seed, "nulls")
    left, right = (
        random_orthogonal(draws, d, draw),
        random_orthogonal(draws, d, draw),
    )
    return {
        "conjugated": left @ generator @ left.mT,
        "singular": left @ generator @ right.mT,
        "gaussian": torch.randn(draws, d, d, generator=draw, dtype=torch.float64),
    }


def compared(
    found: On,
    chance: dict[str, On],
    known: dict[str, Float[Tensor, "d d"]],
    patch: int,
    part: str,
) -> list[dict[str, object]]:
    """One row of the table for each quantity of one part of a matrix, beside its nulls."""
    values, cosine = quantities(*found, known, patch, part)
    drawn = {name: quantities(*each, known, patch, part)[0] for name, each in chance.items()}
    best = int(cosine[0].abs().argmax())
    rows = []
    for quantity, value in values.items():
        row = {"part": part, "quantity": quantity, "value": float(value)}
        row["operation"] = list(known)[best] if quantity == "match" else ""
        row["cosine"] = float(cosine[0, best]) if quantity == "match" else float("nan")
        for name in NULLS:
            of_null = drawn[name][quantity] if name in drawn else None
            row[name] = float("nan") if of_null is None else float(of_null.median())
            p = float("nan") if of_null is None else p_value(quantity, value, of_null)
            row[f"p_{name}"] = p
        rows.append(row)
    return rows


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
    return generator @ seen_space(generator[None], filters.detach().double(), order)[0]


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
    inverse = torch.linalg.pinv(here, rtol=RANK)
    return there @ inverse, here @ inverse


def regrouped(
    atoms: Float[Tensor, "j k n d"], draws: int, seed: int = 0
) -> tuple[Float[Tensor, "draws d d"], Float[Tensor, "draws d d"]]:
    """The null of orbits: all atoms of all sets shuffled into orbits of the same sizes, refitted.

    Returns:
        ``draws`` matrices as :func:`refit` gives them, and the projections.
    """
    sets, k, n, d = atoms.shape
    draw = stream(seed, "regrouped")
    flat = atoms.detach().reshape(-1, d)
    rounds = -(-draws // sets)
    shuffled = [flat[torch.randperm(len(flat), generator=draw)] for _ in range(rounds)]
    matrices, spaces = refit(torch.stack(shuffled).reshape(-1, k, n, d))
    return matrices[:draws], spaces[:draws]


def on_seen(
    generators: Float[Tensor, "b d d"],
    filters: Float[Tensor, "k d"],
    order: int,
) -> On:
    """The parts of generators that the orbits of the same filters see, and where that is."""
    spaces = seen_space(generators, filters, order)
    return generators @ spaces, spaces


def seen_space(
    generators: Float[Tensor, "b d d"],
    filters: Float[Tensor, "k d"],
    order: int,
) -> Float[Tensor, "b d d"]:
    """Projections onto the span of the first n - 1 elements of the filters' orbits."""
    count, d, _ = generators.shape
    if order == 1:
        return torch.zeros_like(generators)
    orbit = ops.orbits(filters.expand(count, -1, -1), generators, order - 1)
    orbit = torch.nn.functional.normalize(orbit, dim=-1).reshape(count, -1, d)
    _, size, directions = torch.linalg.svd(orbit, full_matrices=False)
    kept = directions * (size > RANK * size[:, :1])[..., None]
    return kept.mT @ kept


def quantities(
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


def p_value(quantity: str, value: Float[Tensor, "#b"], drawn: Float[Tensor, " b"]) -> float:
    """The share of draws, with the value itself, that are at least as extreme."""
    sign = -1 if quantity == "orthogonality_defect" else 1
    beyond = int((sign * drawn >= sign * value - ROUNDING).sum())
    return (1 + beyond) / (1 + len(drawn))
