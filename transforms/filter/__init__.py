"""Which changes are worth a score."""
