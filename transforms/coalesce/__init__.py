"""Keyed state an account: a burst becomes one change, and the newest wins."""
