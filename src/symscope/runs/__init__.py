"""Grids of runs that survive."""
