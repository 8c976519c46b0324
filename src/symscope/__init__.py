"""symscope: which Lie group did a network learn, how sure is that, and what is it called."""

from . import (
    actions,
    algebra,
    automorphisms,
    cyclic,
    datasets,
    ensembles,
    heads,
    layers,
    ledger,
    models,
    operations,
    orbits,
    pictures,
    planted,
    polarization,
    sweeps,
    symmetries,
    training,
    trends,
    unfolded,
)
from .actions import LinearAction, PlaneAction
from .controls import accuracy_along, against_shuffled
from .layers import layer_symmetries
from .operations import match_operations
from .orbits import CyclicOrbit
from .shards import symmetries_of_shards
from .symmetries import Symmetries, compare, learned_symmetries

__all__ = [
    "CyclicOrbit",
    "LinearAction",
    "PlaneAction",
    "Symmetries",
    "accuracy_along",
    "actions",
    "against_shuffled",
    "algebra",
    "automorphisms",
    "compare",
    "cyclic",
    "datasets",
    "ensembles",
    "heads",
    "layer_symmetries",
    "layers",
    "learned_symmetries",
    "ledger",
    "match_operations",
    "models",
    "operations",
    "orbits",
    "pictures",
    "planted",
    "polarization",
    "sweeps",
    "symmetries",
    "symmetries_of_shards",
    "training",
    "trends",
    "unfolded",
]
