"""Grids of runs that survive, and single trainings that are kept."""

from .store import Store
from .sweeps import sweep, write_table

__all__ = ["Store", "sweep", "write_table"]
