"""Which symmetries did a network learn (LieGG, moskalev2022liegg)."""
