"""The routes, a file a thing."""
