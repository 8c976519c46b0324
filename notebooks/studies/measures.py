"""One network's symmetry in numbers: of which function of its outputs, and in which unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from symscope.algebra import matrices as algebra

if TYPE_CHECKING:
    import pandas
    from jaxtyping import Float

    from symscope.reports.symmetries import Symmetries


def summed(logits: Float[Tensor, "n c"]) -> Float[Tensor, "n 1"]:
    """The logits of each sample scaled to unit length, then added up: LieGG's choice.

    Source: moskalev2022liegg, public notebooks. ``learned_symmetries(..., outputs="sum",
    unit_norm=True)`` asks the same.
    """
    return (logits / logits.norm(dim=1, keepdim=True)).sum(1, keepdim=True)


def every(logits: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """All logits as they are."""
    return logits


def centred(logits: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """All logits minus their mean: what softmax sees, and no more."""
    return logits - logits.mean(1, keepdim=True)


def versions(
    found: Symmetries, known: Float[Tensor, "1 d d"], outputs: Float[Tensor, "n c"]
) -> dict[str, float]:
    """The smallest symmetry variance and its direction, in every unit that they are told in.

    Args:
        known: the generator that the direction is compared with, an algebra of one dimension.

    Returns:
        ``raw``, the smallest variance; ``relative``, over its mean over all directions;
        ``scaled``, over ``own_variance``, the variance of the outputs from sample to sample;
        ``bias``, the distance of its direction from the known one; ``ratio``, the variance along
        the known generator over the shuffled pairing's; and ``shuffled_raw``,
        ``shuffled_relative`` and ``shuffled_bias``, the same of the control.
    """
    ratio = found.against_shuffled(known[0])  # refuses a report without control
    own = outputs.detach().double().var(0, correction=0).sum()
    numbers: dict[str, Tensor | float] = {
        "raw": found.liegg.variance[0],
        "relative": found.liegg.relative_variance[0],
        "scaled": found.liegg.variance[0] / own,
        "own_variance": own,
        "bias": found.liegg.bias_to(known)[0],
        "ratio": ratio,
    }
    control = found.shuffled
    if control is not None:
        numbers |= {
            "shuffled_raw": control.liegg.variance[0],
            "shuffled_relative": control.liegg.relative_variance[0],
            "shuffled_bias": control.liegg.bias_to(known)[0],
        }
    return {name: float(value) for name, value in numbers.items()}


def compare(reports: Mapping[str, Symmetries], basis: Float[Tensor, "d n n"]) -> pandas.DataFrame:
    """LieGG's quantities of several reports beside a known algebra of dimension d, one row each.

    Columns: ``count``; ``gap`` behind the d-th direction (NaN if that is the last);
    ``relative_variance``, the largest among the first d; ``angle``, the largest principal angle
    in degrees; ``bias``, the largest distance from the algebra among the first d.
    """
    import pandas

    d = len(algebra.orthonormal(basis))
    rows = {
        name: {
            "count": found.count,
            "gap": float(found.liegg.gaps[d - 1]) if d <= len(found.liegg.gaps) else float("nan"),
            "relative_variance": float(found.liegg.relative_variance[d - 1]),
            "angle": float(found.liegg.angles_to(basis).max()),
            "bias": float(found.liegg.bias_to(basis)[:d].max()),
        }
        for name, found in reports.items()
    }
    return pandas.DataFrame.from_dict(rows, orient="index")
