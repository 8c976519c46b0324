"""symscope: which Lie group did a network learn, how sure is that, and what is it called."""

from . import data, kernels, lie, networks, runs, study, weights
from .lie import actions, algebra
from .lie.actions import LinearAction, PlaneAction
from .lie.ask import learned_symmetries
from .lie.compare import compare
from .lie.equivariance import dynamics_symmetries, equivariant_symmetries
from .lie.fields import FieldAction
from .lie.images import plane_symmetries
from .lie.layers import layer_symmetries
from .lie.naming import name_algebra
from .lie.nearest import nearest_algebra
from .lie.points import PointAction
from .lie.report import Symmetries
from .lie.shards import symmetries_of_shards
from .runs import sweeps
from .weights.operations import match_operations
from .weights.orbits import CyclicOrbit

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
    "data",
    "dynamics_symmetries",
    "equivariant_symmetries",
    "kernels",
    "layer_symmetries",
    "learned_symmetries",
    "lie",
    "match_operations",
    "name_algebra",
    "nearest_algebra",
    "networks",
    "plane_symmetries",
    "runs",
    "study",
    "sweeps",
    "symmetries_of_shards",
    "weights",
]
