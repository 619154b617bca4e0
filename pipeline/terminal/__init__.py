"""What the commands share: parameters, exit codes, logs, and how results are printed."""
