"""Failing on purpose: `rescore local fail` makes a service of the running local stack fail for a time.

The stack's process controls the services (`control.py`); the command reaches it through LOCAL_STACK_CONTROL.
"""
