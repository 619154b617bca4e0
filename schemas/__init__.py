"""The data that flows through the service: change events, contexts, scores, dead letters, outcomes, tables.

Everything here is a frozen value or a pure function over one. No I/O, no Beam, no vendor client.
"""
