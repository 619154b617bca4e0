"""Backfill: score accounts as of now, without a change event."""
