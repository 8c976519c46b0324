"""What is trained, and how."""

from .models import MLP, load, mnist_mlp, o5_mlp, save, width_for
from .training import Fit, device, evaluate, fit, fit_layerwise, fit_steps, seeded

__all__ = [
    "Fit",
    "MLP",
    "device",
    "evaluate",
    "fit",
    "fit_layerwise",
    "fit_steps",
    "load",
    "mnist_mlp",
    "o5_mlp",
    "save",
    "seeded",
    "width_for",
]
