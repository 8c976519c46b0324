"""The inner loops of the package: their definition in torch, faster versions, the dispatch."""
