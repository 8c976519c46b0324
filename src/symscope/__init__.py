"""symscope: which Lie group did a network learn, how sure is that, and what is it called."""

from . import (
    actions,
    algebra,
    datasets,
    ensembles,
    ledger,
    models,
    polarization,
    sweeps,
    symmetries,
    training,
)
from .actions import LinearAction, PlaneAction
from .controls import accuracy_along
from .shards import symmetries_of_shards
from .symmetries import Symmetries, compare, learned_symmetries

__all__ = [
    "LinearAction",
    "PlaneAction",
    "Symmetries",
    "accuracy_along",
    "actions",
    "algebra",
    "compare",
    "datasets",
    "ensembles",
    "learned_symmetries",
    "ledger",
    "models",
    "polarization",
    "sweeps",
    "symmetries",
    "symmetries_of_shards",
    "training",
]
