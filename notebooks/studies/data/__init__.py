"""What is learned from: splits, sources, digits, vectors, images."""

from .digits import fresh_turns, mislabelled, mnist, of_classes, rotate, rotated_mnist
from .images import colour_photographs, image_set, photographs, picture_patches
from .sources import DatasetError
from .splits import Split, Splits
from .vectors import o5_regression
from .whitening import whitened

__all__ = [
    "DatasetError",
    "Split",
    "Splits",
    "colour_photographs",
    "fresh_turns",
    "image_set",
    "mislabelled",
    "mnist",
    "o5_regression",
    "of_classes",
    "photographs",
    "picture_patches",
    "rotate",
    "rotated_mnist",
    "whitened",
]
