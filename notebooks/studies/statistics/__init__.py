"""Intervals over independent units, and trends."""
