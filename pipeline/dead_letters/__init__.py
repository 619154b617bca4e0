"""Dead letters after they were written: seen, understood, published again, or parked."""
