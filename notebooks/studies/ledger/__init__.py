"""Claims, criteria, verdicts."""
