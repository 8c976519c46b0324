"""What the papers say, what is measured for it, and the verdicts that follow."""

from ..statistics.text import number, spread
from .measuring import Measurements, finding

__all__ = ["Measurements", "finding", "number", "spread"]
