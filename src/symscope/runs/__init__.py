"""Grids of runs that survive, and single trainings that are kept."""

from .store import Store
from .sweeps import sweep, write_table
from .trained import Trained, train

__all__ = ["Store", "Trained", "sweep", "train", "write_table"]
