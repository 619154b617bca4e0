"""What became of each change event."""
