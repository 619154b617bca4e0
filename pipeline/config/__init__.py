"""Options: type, validation, default and config sources."""
