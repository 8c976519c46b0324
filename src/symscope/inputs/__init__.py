"""The user's data as checked batches."""
