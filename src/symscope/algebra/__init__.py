"""Lie algebras of matrices: the known ones, brackets, angles, names."""

from .matrices import (
    affine,
    anticlockwise,
    bracket,
    closure_residual,
    coordinates,
    direct_sum,
    euclidean,
    gl,
    heisenberg,
    homogeneous,
    measured,
    orthonormal,
    principal_angles,
    scaling,
    sl,
    so,
    sp,
    translations,
)
from .naming import name_algebra
from .nearest import nearest_algebra

__all__ = [
    "affine",
    "anticlockwise",
    "bracket",
    "closure_residual",
    "coordinates",
    "direct_sum",
    "euclidean",
    "gl",
    "heisenberg",
    "homogeneous",
    "measured",
    "name_algebra",
    "nearest_algebra",
    "orthonormal",
    "principal_angles",
    "scaling",
    "sl",
    "so",
    "sp",
    "translations",
]
