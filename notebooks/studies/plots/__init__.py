"""Figures of the book: one style, caption and alt text for each."""
