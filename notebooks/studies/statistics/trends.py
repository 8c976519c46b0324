"""What many networks say together: slopes, rank correlations, and curves at one height."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from symscope._checks import real

from .intervals import LEVEL

if TYPE_CHECKING:
    import numpy as np
    import pandas

COLUMNS = ["estimate", "low", "high"]


def slopes(values: Sequence[float], predictors: Mapping[str, Sequence[float]]) -> pandas.DataFrame:
    """Ordinary least squares of values (N,) on predictors (N,) and a constant.

    Returns:
        A row a predictor, with columns ``estimate`` (units of the values per unit of the
        predictor), ``low`` and ``high``: Student's 95 % interval, which takes residuals as
        independent and of one size. The ends are NaN where no degree of freedom is left.
    """
    import numpy as np
    import pandas
    from scipy.stats import t

    outcome = _finite("values", values)
    columns = [_finite(name, given, len(outcome)) for name, given in predictors.items()]
    design = np.column_stack([np.ones_like(outcome), *columns])
    count, unknown = design.shape
    if np.linalg.matrix_rank(design) < unknown:
        raise ValueError(
            f"the predictors {', '.join(map(repr, predictors))} cannot be told apart on "
            f"{count} values: one is constant, or a combination of others"
        )
    found, *_ = np.linalg.lstsq(design, outcome, rcond=None)
    free = count - unknown
    half = np.full(unknown, np.nan)
    if free:
        noise = np.square(outcome - design @ found).sum() / free
        error = np.sqrt(noise * np.diag(np.linalg.inv(design.T @ design)))
        half = t.ppf((1 + LEVEL) / 2, free) * error
    table = np.column_stack([found, found - half, found + half])[1:]
    return pandas.DataFrame(table, index=list(predictors), columns=COLUMNS)


def rank_correlation(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    given: Sequence[float] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> pandas.Series:
    """Spearman's rank correlation, or the partial one, with its 95 % bootstrap interval.

    What is resampled are the independent units: in a grid of networks by seed not the rows, but
    all rows of an architecture, say. A percentile interval of few units is too narrow, so its
    ends are moved outwards as Student's are from the normal law's (Hesterberg, "What teachers
    should know about the bootstrap", 2015).

    Args:
        first, second: (N,), paired.
        clusters: N labels of independent units, each with equally many rows; default, every row.
        given: (N,), what is held fixed: the correlation of what its ranks leave of the others'.
        draws, seed: of the units, with replacement.

    Returns:
        ``estimate``, ``low`` and ``high``. NaN where one of the two is constant, or follows the
        order of ``given``.
    """
    import numpy as np
    import pandas
    from scipy.stats import norm, t

    x = _finite("first", first)
    y = _finite("second", second, len(x))
    z = None if given is None else _finite("given", given, len(x))
    if len(x) < 3:
        raise ValueError(f"a rank correlation needs at least 3 pairs, got {len(x)}")
    named = list(range(len(x)) if clusters is None else clusters)
    labels = pandas.Series(named, dtype=object).factorize()[0]
    sizes = np.bincount(labels)
    if len(labels) != len(x) or len(sizes) < 3 or sizes.min() != sizes.max():
        raise ValueError(
            f"clusters must be {len(x)} labels of at least 3 clusters of one size; got "
            f"{len(labels)} labels, sizes {sorted(set(sizes.tolist()))}"
        )
    units = np.argsort(labels, kind="stable").reshape(len(sizes), -1)
    random = np.random.default_rng(seed)
    drawn = units[random.integers(len(units), size=(draws, len(units)))].reshape(draws, -1)
    resampled = _spearman(x[drawn], y[drawn], None if z is None else z[drawn])
    resampled = resampled[np.isfinite(resampled)]  # a draw of one pair only has no ranks
    estimate = _spearman(x[None], y[None], None if z is None else z[None])[0]
    count = len(units)
    wide = norm.cdf(-np.sqrt(count / (count - 1)) * t.ppf((1 + LEVEL) / 2, count - 1))
    ends = wide, 1 - wide
    known = np.isfinite(estimate) and len(resampled)
    low, high = np.quantile(resampled, ends) if known else (np.nan, np.nan)
    return pandas.Series([estimate, low, high], index=COLUMNS)


def read_at(
    curve: pandas.DataFrame, column: str, level: float, *, straight: Collection[str] = ()
) -> pandas.Series:
    """A curve's other columns where one column first reaches a level.

    Read on a straight line between the two points around it, in the logarithm of what is read, but
    for the columns in ``straight``. ``curve`` has a point a row, in its order. NaN where it begins
    above the level, or never reaches it.

    >>> import pandas
    >>> curve = pandas.DataFrame({"accuracy": [0.5, 0.7], "variance": [4.0, 1.0]})
    >>> float(read_at(curve, "accuracy", 0.6)["variance"])
    2.0
    """
    import numpy as np
    import pandas

    unknown = [name for name in (column, *straight) if name not in curve]
    if unknown:
        raise ValueError(f"curve has no column {unknown[0]!r}; it has {', '.join(curve)}")
    real("level", level)
    others = curve.drop(columns=column)
    reached = curve[column].to_numpy(dtype=float)
    after = int((reached >= level).argmax()) if len(curve) else 0
    if not len(curve) or reached[after] < level or (after == 0 and reached[0] > level):
        return pandas.Series(np.nan, others.columns)
    if after == 0:
        return others.iloc[0].astype(float)
    share = (level - reached[after - 1]) / (reached[after] - reached[after - 1])
    start, end = others.iloc[after - 1], others.iloc[after]
    return pandas.Series(
        {
            name: (1 - share) * start[name] + share * end[name]
            if name in straight
            else start[name] ** (1 - share) * end[name] ** share
            for name in others
        },
        dtype=float,
    )


def _spearman(first: np.ndarray, second: np.ndarray, given: np.ndarray | None) -> np.ndarray:
    """Row by row, (B, N) each to (B,); ties get their mean rank, and what is given is taken out."""
    import numpy as np
    from scipy.stats import rankdata

    def centred(values: np.ndarray) -> np.ndarray:
        ranks = rankdata(values, axis=1)
        return ranks - ranks.mean(1, keepdims=True)

    a, b = centred(first), centred(second)
    least = 1e-9 * (np.square(a).sum(1) * np.square(b).sum(1))  # rounding is no rest
    if given is not None:
        c = centred(given)
        size = np.square(c).sum(1, keepdims=True).clip(1e-9)
        a, b = (each - (each * c).sum(1, keepdims=True) / size * c for each in (a, b))
    scale = np.square(a).sum(1) * np.square(b).sum(1)
    found = np.full(len(a), np.nan)
    return np.divide((a * b).sum(1), np.sqrt(scale), out=found, where=scale > least)


def _finite(name: str, values: Sequence[float], length: int | None = None) -> np.ndarray:
    import numpy as np

    found = np.asarray(values, dtype=float)
    if found.ndim != 1 or (length is not None and len(found) != length):
        expected = "(N,)" if length is None else f"({length},)"
        raise ValueError(f"{name} must be of shape {expected}, got {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return found
