"""The inner loops of the package: one definition in plain torch, and the dispatch to it."""
