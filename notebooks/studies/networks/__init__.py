"""What is trained, and how."""

from .models import MLP, load, mnist_mlp, o5_mlp, save, width_for
from .steps import Steps, fit_steps
from .training import Fit, device, evaluate, fit, fit_layerwise, seeded

__all__ = [
    "Fit",
    "MLP",
    "Steps",
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
