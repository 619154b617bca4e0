"""How commands talk to people and to shells."""
