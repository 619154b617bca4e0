"""The ledger: which outcome each change event has, and why; reads change events from files."""
