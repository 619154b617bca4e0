"""Score accounts as of now, without a change."""
