"""The commands of `rescore`, a file each."""
