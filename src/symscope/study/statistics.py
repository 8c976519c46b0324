"""How a measurement changes over many networks: slopes and rank correlations with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas

COLUMNS = ["estimate", "low", "high"]


def slopes(
    values: Sequence[float], predictors: Mapping[str, Sequence[float]], level: float = 0.95
) -> pandas.DataFrame:
    """Ordinary least squares of values on predictors and a constant.

    Args:
        values: (N,).
        predictors: each (N,), by name.
        level: of the intervals, Student's with N minus the number of coefficients degrees of
            freedom; default 0.95. They take residuals as independent and of one size.

    Returns:
        A row a predictor, with columns ``estimate`` (units of the values per unit of the
        predictor), ``low`` and ``high``. The ends are NaN where no degree of freedom is left.

    Raises:
        ValueError: for values that are not finite or of unequal lengths, or predictors that
            cannot be told apart on them (one is constant, or a combination of others).
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
        half = t.ppf((1 + level) / 2, free) * error
    table = np.column_stack([found, found - half, found + half])[1:]
    return pandas.DataFrame(table, index=list(predictors), columns=COLUMNS)


def rank_correlation(
    first: Sequence[float],
    second: Sequence[float],
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pandas.Series:
    """Spearman's rank correlation with its bootstrap interval.

    Args:
        first, second: (N,), paired.
        draws: resamplings of the pairs, with replacement; default 2,000.
        level: of the percentile interval; default 0.95.
        seed: of the resampling.

    Returns:
        ``estimate``, ``low`` and ``high``. NaN where one of the two is constant.

    Raises:
        ValueError: for values that are not finite, of unequal lengths, or fewer than 3.
    """
    import numpy as np
    import pandas

    first = _finite("first", first)
    second = _finite("second", second, len(first))
    if len(first) < 3:
        raise ValueError(f"a rank correlation needs at least 3 pairs, got {len(first)}")
    random = np.random.default_rng(seed)
    drawn = random.integers(len(first), size=(draws, len(first)))
    resampled = _spearman(first[drawn], second[drawn])
    resampled = resampled[np.isfinite(resampled)]  # a draw of one pair only has no ranks
    estimate = _spearman(first[None], second[None])[0]
    ends = (1 - level) / 2, (1 + level) / 2
    known = np.isfinite(estimate) and len(resampled)
    low, high = np.quantile(resampled, ends) if known else (np.nan, np.nan)
    return pandas.Series([estimate, low, high], index=COLUMNS)


def _spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Row by row, (B, N) and (B, N) to (B,); ties get their mean rank."""
    import numpy as np
    from scipy.stats import rankdata

    ranks = [rankdata(values, axis=1) for values in (first, second)]
    a, b = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    scale = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.divide((a * b).sum(1), scale, out=np.full(len(a), np.nan), where=scale > 0)


def _finite(name: str, values: Sequence[float], length: int | None = None) -> np.ndarray:
    import numpy as np

    found = np.asarray(values, dtype=float)
    if found.ndim != 1 or (length is not None and len(found) != length):
        expected = "(N,)" if length is None else f"({length},)"
        raise ValueError(f"{name} must be of shape {expected}, got {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return found
