"""How much further apart networks of different conditions are than seeds of one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

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
    further apart, as a share. Every condition must have been run with every seed; pairs of one
    seed are left out on both sides, since networks of one seed may share their start. The
    interval is the jackknife's, leaving out one seed, with all its networks, at a time: Student's,
    with one degree of freedom fewer than seeds. The others are compared with the first kind
    *in pairs*: their effect is taken from its effect with the same seeds left out.

    Args:
        distances: (N, N), symmetric, by the name of what is compared; the first is judged.
        conditions, seeds: N labels each.
        level: of the intervals; default 0.95.

    Returns:
        A row a kind, with columns ``within``, ``between``, ``estimate`` (the effect), ``low`` and
        ``high``; and ``excess``, ``excess_low`` and ``excess_high``: the first kind's effect less
        this one's (NaN in the first row).

    Raises:
        ValueError: for matrices of another shape or not finite, conditions without every seed, or
            fewer than 2 conditions or 3 seeds.

    References:
        Efron and Stein, "The jackknife estimate of variance", 1981.
    """
    import numpy as np
    import pandas
    from scipy.stats import t

    names, runs = pandas.factorize(np.array(list(conditions), dtype=object))[0], list(seeds)
    units = list(dict.fromkeys(runs))
    count = len(names)
    pairs = {(name, run) for name, run in zip(names, runs, strict=True)}
    if len(pairs) != count or count != len(set(names)) * len(units):
        raise ValueError("every condition must have every seed, once")
    if len(set(names)) < 2 or len(units) < 3:
        raise ValueError(
            f"at least 2 conditions and 3 seeds are needed, got {len(set(names))} and {len(units)}"
        )
    places = np.array([units.index(run) for run in runs])
    matrices = {kind: _checked(kind, given, count) for kind, given in distances.items()}

    def effects(left_out: int | None) -> list[tuple[float, float, float]]:
        kept = places != (-1 if left_out is None else left_out)
        apart = places[:, None] != places
        apart &= kept[:, None] & kept
        same = names[:, None] == names
        found = []
        for matrix in matrices.values():
            within, between = matrix[apart & same].mean(), matrix[apart & ~same].mean()
            found.append((within, between, between / within - 1))
        return found

    everything = np.array(effects(None))
    n = len(units)
    drawn = np.array([effects(place) for place in range(n)])[:, :, 2]
    quantile = t.ppf((1 + level) / 2, n - 1)

    def half(values: np.ndarray) -> np.ndarray:
        return quantile * np.sqrt((n - 1) / n * np.square(values - values.mean(0)).sum(0))

    effect, excess = everything[:, 2], everything[0, 2] - everything[:, 2]
    wide, wide_excess = half(drawn), half(drawn[:, :1] - drawn)
    table = {
        "within": everything[:, 0], "between": everything[:, 1],
        "estimate": effect, "low": effect - wide, "high": effect + wide,
        "excess": excess, "excess_low": excess - wide_excess, "excess_high": excess + wide_excess,
    }  # fmt: skip
    found = pandas.DataFrame(table, index=list(distances))
    found.iloc[0, 5:] = np.nan
    return found


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
