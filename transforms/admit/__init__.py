"""Admission: the daily token budget, and batches."""
