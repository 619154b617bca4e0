"""Vendors at their edge, a module each."""
