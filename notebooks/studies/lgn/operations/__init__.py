"""Which image operation a learned matrix is: known operations, scores, best match and its nulls."""

from .matching import match_operations, refit, regrouped, seen_part
from .matrices import (
    blur,
    compose,
    difference,
    flip,
    identity,
    known_operations,
    median,
    rotation,
    scaling,
    shift,
)
from .regrouping import orbit_structure, stand_out
from .structure import scores
from .supervised import filtered_and_turned, fitted

__all__ = [
    "blur",
    "compose",
    "difference",
    "filtered_and_turned",
    "fitted",
    "flip",
    "identity",
    "known_operations",
    "match_operations",
    "median",
    "orbit_structure",
    "refit",
    "regrouped",
    "rotation",
    "scaling",
    "scores",
    "seen_part",
    "shift",
    "stand_out",
]
