"""Grids of runs that survive, and single results that are stored."""

from .store import Store
from .sweeps import sweep, write_table

__all__ = ["Store", "sweep", "write_table"]
