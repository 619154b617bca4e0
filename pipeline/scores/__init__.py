"""Reading scores: the highest, what moved one, and everything that is known of an account."""
