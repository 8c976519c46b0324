"""Is a learned weight group a group (Linear Group Networks, theodosis2023linear)."""

from .unfolded import Reconstructor, Unfolded

__all__ = ["Reconstructor", "Unfolded"]
