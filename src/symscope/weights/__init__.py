"""Is a learned weight group a group (Linear Group Networks, theodosis2023linear)."""

from . import automorphisms, comparison, constraints, cyclic, operations, planted, recovery
from .dictionaries import Dictionary, pruned_dictionary
from .orbits import CyclicOrbit
from .tasks import Classifier, Denoiser, Reconstructor
from .unfolded import UnfoldedImages, UnfoldedPatches

__all__ = [
    "Classifier",
    "CyclicOrbit",
    "Denoiser",
    "Dictionary",
    "Reconstructor",
    "UnfoldedImages",
    "UnfoldedPatches",
    "automorphisms",
    "comparison",
    "constraints",
    "cyclic",
    "operations",
    "planted",
    "pruned_dictionary",
    "recovery",
]
