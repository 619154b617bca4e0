"""How many changes go on, and in which batches."""
