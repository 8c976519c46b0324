"""symscope: which Lie group did a network learn, how sure is that, and what is it called."""

from . import actions, algebra, datasets, ledger, models, polarization, symmetries, training
from .actions import LinearAction, PlaneAction
from .controls import accuracy_along
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
    "learned_symmetries",
    "ledger",
    "models",
    "polarization",
    "symmetries",
    "training",
]
