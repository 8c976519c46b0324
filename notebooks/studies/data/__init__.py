"""What is learned from: splits, sources, digits, vectors, images."""

from .digits import fresh_turns, mislabelled, mnist, of_classes, rotate, rotated_mnist
from .images import (
    cifar10,
    cifar10_jpeg,
    colour_photographs,
    fashion_mnist,
    photographs,
    picture_patches,
)
from .sources import DatasetError
from .splits import Split, Splits
from .vectors import o5_regression
from .whitening import whitened

__all__ = [
    "DatasetError",
    "Split",
    "Splits",
    "cifar10",
    "cifar10_jpeg",
    "colour_photographs",
    "fashion_mnist",
    "fresh_turns",
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
