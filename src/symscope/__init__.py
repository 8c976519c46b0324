"""symscope: which Lie group did a network learn, how sure is that, and what is it called."""

from . import (
    actions,
    algebra,
    datasets,
    ensembles,
    layers,
    ledger,
    models,
    polarization,
    sweeps,
    symmetries,
    training,
    trends,
)
from .actions import LinearAction, PlaneAction
from .controls import accuracy_along, against_shuffled
from .layers import layer_symmetries
from .shards import symmetries_of_shards
from .symmetries import Symmetries, compare, learned_symmetries

__all__ = [
    "LinearAction",
    "PlaneAction",
    "Symmetries",
    "accuracy_along",
    "actions",
    "against_shuffled",
    "algebra",
    "compare",
    "datasets",
    "ensembles",
    "layer_symmetries",
    "layers",
    "learned_symmetries",
    "ledger",
    "models",
    "polarization",
    "sweeps",
    "symmetries",
    "symmetries_of_shards",
    "training",
    "trends",
]
