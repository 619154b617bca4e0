"""Dead letters after they were written: listed, shown, replayed or parked; and recovery of a subscription."""
