"""Is a learned weight group a group (Linear Group Networks, theodosis2023linear)."""

from . import automorphisms, cyclic, operations, planted
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
    "cyclic",
    "operations",
    "planted",
    "pruned_dictionary",
]
