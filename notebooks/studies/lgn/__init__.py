"""Is a learned weight group a group (Linear Group Networks, theodosis2023linear)."""

from .dictionaries import Dictionary, pruned_dictionary
from .published import (
    PublishedClassifier,
    PublishedNetwork,
    PublishedOrbits,
    PublishedReconstructor,
)
from .unfolded import Reconstructor, Unfolded

__all__ = [
    "Dictionary",
    "PublishedClassifier",
    "PublishedNetwork",
    "PublishedOrbits",
    "PublishedReconstructor",
    "Reconstructor",
    "Unfolded",
    "pruned_dictionary",
]
