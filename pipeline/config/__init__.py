"""Options: type, validation, default, and where each value comes from."""
