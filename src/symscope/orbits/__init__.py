"""Groups of filters: constraints and orbits (Linear Group Networks, theodosis2023linear)."""

from . import cyclic
from .orbits import CyclicOrbit

__all__ = ["CyclicOrbit", "cyclic"]
