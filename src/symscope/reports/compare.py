"""Several reports beside a known algebra, as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..algebra import matrices as algebra
from .symmetries import Symmetries

if TYPE_CHECKING:
    import pandas
    from jaxtyping import Float
    from torch import Tensor


def compare(reports: Mapping[str, Symmetries], basis: Float[Tensor, "d n n"]) -> pandas.DataFrame:
    """Several reports beside a known algebra of dimension d, one row each.

    Columns: ``count``; ``gap`` behind the d-th direction (NaN if that is the last);
    ``relative_variance``, the largest among the first d; ``angle``, the largest principal angle
    in degrees; ``bias``, the largest distance from the algebra among the first d.
    """
    import pandas

    d = len(algebra.orthonormal(basis))
    rows = {
        name: {
            "count": found.count,
            "gap": float(found.gaps[d - 1]) if d <= len(found.gaps) else float("nan"),
            "relative_variance": float(found.relative_variance[d - 1]),
            "angle": float(found.angles_to(basis).max()),
            "bias": float(found.bias_to(basis)[:d].max()),
        }
        for name, found in reports.items()
    }
    return pandas.DataFrame.from_dict(rows, orient="index")
