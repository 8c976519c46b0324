"""symscope: which Lie group did a network learn, how sure is that, and what is it called."""

from . import (
    actions,
    algebra,
    cyclic,
    datasets,
    heads,
    ledger,
    models,
    operations,
    orbits,
    pictures,
    planted,
    polarization,
    symmetries,
    training,
    unfolded,
)
from .actions import LinearAction, PlaneAction
from .controls import accuracy_along
from .operations import match_operations
from .orbits import CyclicOrbit
from .symmetries import Symmetries, compare, learned_symmetries

__all__ = [
    "CyclicOrbit",
    "LinearAction",
    "PlaneAction",
    "Symmetries",
    "accuracy_along",
    "actions",
    "algebra",
    "compare",
    "cyclic",
    "datasets",
    "heads",
    "learned_symmetries",
    "ledger",
    "match_operations",
    "models",
    "operations",
    "orbits",
    "pictures",
    "planted",
    "polarization",
    "symmetries",
    "training",
    "unfolded",
]
