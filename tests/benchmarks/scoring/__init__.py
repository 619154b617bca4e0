"""W1 to W7: what scoring takes, ours and others', side by side against the stand-in in a process of its own."""
