"""Is a learned weight group a group (Linear Group Networks, theodosis2023linear)."""

from . import (
    automorphisms,
    comparison,
    constraints,
    cyclic,
    operations,
    planted,
    recovery,
    separation,
    setting,
    structures,
)
from .dictionaries import Dictionary, pruned_dictionary
from .orbits import CyclicOrbit
from .published import (
    PublishedClassifier,
    PublishedNetwork,
    PublishedOrbits,
    PublishedReconstructor,
)
from .tasks import Classifier, Denoiser, Reconstructor
from .unfolded import UnfoldedImages, UnfoldedPatches

__all__ = [
    "Classifier",
    "CyclicOrbit",
    "Denoiser",
    "Dictionary",
    "PublishedClassifier",
    "PublishedNetwork",
    "PublishedOrbits",
    "PublishedReconstructor",
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
    "separation",
    "setting",
    "structures",
]
