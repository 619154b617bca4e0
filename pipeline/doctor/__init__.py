"""What `rescore doctor` checks of a deployment: a file for each kind of thing, put together in `deployment`."""
