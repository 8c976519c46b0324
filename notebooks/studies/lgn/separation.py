"""How much further apart networks of different conditions are than seeds of one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from symscope._checks import choice

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas


def separation(
    distances: Mapping[str, npt.ArrayLike],
    conditions: Sequence[Hashable],
    seeds: Sequence[Hashable],
    *,
    level: float = 0.95,
) -> pandas.DataFrame:
    """Mean distances within and between conditions, the effect, and its interval over seeds.

    The effect is the mean distance between conditions over the mean within one, less 1: so much
    further apart, as a share. The interval is Student's over the seeds' shares of it
    (:func:`by_seed`), so the jackknife's. The others are compared with the first kind *in pairs*,
    seed by seed.

    Args:
        distances: (N, N), symmetric, by the name of what is compared; the first is judged.
        conditions, seeds: N labels each.
        level: of the intervals; default 0.95.

    Returns:
        A row a kind, with columns ``within``, ``between``, ``estimate`` (the effect), ``low`` and
        ``high``; and ``excess``, ``excess_low`` and ``excess_high``: the first kind's effect less
        this one's (NaN in the first row).

    Raises:
        ValueError: as :func:`by_seed`.
    """
    import numpy as np
    import pandas
    from scipy.stats import t

    shares = by_seed(distances, conditions, seeds)
    n = len(shares)
    quantile = t.ppf((1 + level) / 2, n - 1)

    def ends(values: pandas.DataFrame) -> tuple[pandas.Series, ...]:
        middle, half = values.mean(), quantile * values.std() / np.sqrt(n)
        return middle, middle - half, middle + half

    excess = shares.iloc[:, 0].to_numpy()[:, None] - shares
    excess.iloc[:, 0] = np.nan
    columns = {}
    for part in ("within", "between"):
        columns[part] = by_seed(distances, conditions, seeds, part).mean()
    columns |= dict(zip(("estimate", "low", "high"), ends(shares), strict=True))
    columns |= dict(zip(("excess", "excess_low", "excess_high"), ends(excess), strict=True))
    return pandas.DataFrame(columns)


def by_seed(
    distances: Mapping[str, npt.ArrayLike],
    conditions: Sequence[Hashable],
    seeds: Sequence[Hashable],
    part: str = "effect",
) -> pandas.DataFrame:
    """The effect, or a mean distance, as one number a seed: the jackknife's pseudovalues.

    With all n seeds let it be e, and without one of them, with all its networks, f; that seed's
    number is n e - (n - 1) f. Student's interval of these numbers is the jackknife's of e. Every
    condition must have been run with every seed; pairs of one seed are left out, since networks
    of one seed may share their start.

    Args:
        distances, conditions, seeds: as for :func:`separation`.
        part: "effect" (default), "within" or "between".

    Returns:
        A row a seed, a column a kind.

    Raises:
        ValueError: for another part, matrices of another shape or not finite, conditions without
            every seed, or fewer than 2 conditions or 3 seeds.

    References:
        Efron and Stein, "The jackknife estimate of variance", 1981.
    """
    import numpy as np
    import pandas

    choice("part", part, ("effect", "within", "between"))
    given = pandas.Index(list(conditions), dtype=object, tupleize_cols=False)
    names, runs = pandas.factorize(given)[0], list(seeds)
    units = list(dict.fromkeys(runs))
    n, count = len(units), len(names)
    pairs = {(name, run) for name, run in zip(names, runs, strict=True)}
    if len(pairs) != count or count != len(set(names)) * n:
        raise ValueError("every condition must have every seed, once")
    if len(set(names)) < 2 or n < 3:
        raise ValueError(
            f"at least 2 conditions and 3 seeds are needed, got {len(set(names))} and {n}"
        )
    places = np.array([units.index(run) for run in runs])
    same = names[:, None] == names

    def measured(matrix: np.ndarray, left_out: int = -1) -> float:
        kept = places != left_out
        apart = (places[:, None] != places) & kept[:, None] & kept
        within, between = (
            matrix[apart & same].mean(),
            matrix[apart & ~same].mean(),
        )
        return {
            "within": within,
            "between": between,
            "effect": between / within - 1,
        }[part]

    matrices = {kind: _checked(kind, given, count) for kind, given in distances.items()}
    columns = {
        kind: [n * measured(matrix) - (n - 1) * measured(matrix, place) for place in range(n)]
        for kind, matrix in matrices.items()
    }
    return pandas.DataFrame(columns, index=units)


def _checked(kind: str, given: npt.ArrayLike, count: int) -> np.ndarray:
    import numpy as np

    matrix = np.asarray(given, dtype=float)
    if matrix.shape != (count, count):
        raise ValueError(f"distances {kind!r} must be ({count}, {count}), got {matrix.shape}")
    if not np.isfinite(matrix[~np.eye(count, dtype=bool)]).all():
        raise ValueError(f"distances {kind!r} hold NaN or infinity")
    if not np.allclose(matrix, matrix.T, equal_nan=True):
        raise ValueError(f"distances {kind!r} must be symmetric")
    return matrix
