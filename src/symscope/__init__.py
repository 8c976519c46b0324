"""symscope: which Lie group did a network learn, how sure is that, and what is it called."""

from . import actions as actions
from . import algebra as algebra
from . import kernels as kernels
from . import orbits as orbits
from . import runs as runs
from .actions import FieldAction, LinearAction, PlaneAction, PointAction, VolumeAction
from .algebra import name_algebra
from .orbits import CyclicOrbit
from .reports.equivariance import dynamics_symmetries, equivariant_symmetries
from .reports.finite import change_along
from .reports.layers import layer_symmetries
from .reports.plane import plane_symmetries
from .reports.query import (
    learned_symmetries,
    symmetries_of_gradients,
    symmetries_of_shards,
)
from .reports.symmetries import Symmetries, summary
from .runs import sweeps as sweeps

__all__ = [
    "CyclicOrbit",
    "FieldAction",
    "LinearAction",
    "PlaneAction",
    "PointAction",
    "Symmetries",
    "VolumeAction",
    "change_along",
    "dynamics_symmetries",
    "equivariant_symmetries",
    "layer_symmetries",
    "learned_symmetries",
    "name_algebra",
    "plane_symmetries",
    "summary",
    "symmetries_of_gradients",
    "symmetries_of_shards",
]
