"""symscope: which Lie group did a network learn, how sure is that, and what is it called."""

from . import actions, algebra, kernels, orbits, runs
from .actions import FieldAction, LinearAction, PlaneAction, PointAction
from .algebra import name_algebra, nearest_algebra
from .orbits import CyclicOrbit
from .reports.compare import compare
from .reports.equivariance import dynamics_symmetries, equivariant_symmetries
from .reports.layers import layer_symmetries
from .reports.plane import plane_symmetries
from .reports.query import learned_symmetries
from .reports.shards import symmetries_of_shards
from .reports.symmetries import Symmetries
from .runs import sweeps

__all__ = [
    "CyclicOrbit",
    "FieldAction",
    "LinearAction",
    "PlaneAction",
    "PointAction",
    "Symmetries",
    "actions",
    "algebra",
    "compare",
    "dynamics_symmetries",
    "equivariant_symmetries",
    "kernels",
    "layer_symmetries",
    "learned_symmetries",
    "name_algebra",
    "nearest_algebra",
    "orbits",
    "plane_symmetries",
    "runs",
    "sweeps",
    "symmetries_of_shards",
]
