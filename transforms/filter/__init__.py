"""Decide which changes are worth a new score, and drop the others."""
