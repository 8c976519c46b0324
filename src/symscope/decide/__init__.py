"""From sums to a decision: how many directions are symmetries, and how sure that is."""
