"""W1 to W7: our scoring and others', side by side, against the stand-in in a process of its own."""
