"""Curves read where they stand at the same height: networks compared at one accuracy, say."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from symscope._checks import real

if TYPE_CHECKING:
    import pandas


def read_at(
    curve: pandas.DataFrame,
    column: str,
    level: float,
    *,
    straight: Collection[str] = (),
) -> pandas.Series:
    """A curve's other columns where one column first reaches a level.

    Read between the two points around it: on a straight line from one to the other, in the
    logarithm of the column that is read.

    Args:
        curve: a point a row, in the order of the curve. What is read is positive.
        column: that must reach the level.
        level: in the units of that column.
        straight: columns that are read on a straight line themselves, not in the logarithm;
            default none.

    Returns:
        A number for each other column. NaN where the curve begins above the level, or never
        reaches it: there is nothing to read.

    Raises:
        ValueError: for a column that is not there, or a level that is no number.

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
