"""What a reader sees: figures, statistics, claims, ledger."""
