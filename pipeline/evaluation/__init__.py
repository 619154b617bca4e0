"""How well scores rank accounts."""
