"""Network and batch -> rows -> sums: one loop over the data."""
