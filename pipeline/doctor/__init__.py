"""The checks of `rescore doctor`: one file for each kind of resource, combined in `deployment`."""
