"""The HTTP API: scores from a read model, change events, dead letters and replays."""
