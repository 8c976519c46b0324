"""Is a learned weight group a group (Linear Group Networks, theodosis2023linear)."""

from symscope.orbits import constraints, cyclic
from symscope.orbits.orbits import CyclicOrbit

from . import (
    automorphisms,
    comparison,
    operations,
    planted,
    recovery,
    separation,
    setting,
    structures,
)
from .dictionaries import Dictionary, pruned_dictionary
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
