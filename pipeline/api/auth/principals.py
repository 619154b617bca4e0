"""Principals and their roles."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a principal may; none includes another."""

    READER = "reader"
    """Read scores, with their reasons, and names of accounts."""

    OPERATOR = "operator"
    """Read dead letters with their payloads, replay, reconcile, have accounts scored again, read metrics."""

    PUBLISHER = "publisher"
    """Publish change events; read nothing."""


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        name: An email, `webhook:NAME`, or `anonymous`.
        roles: What they may.
    """

    name: str
    roles: frozenset[Role]
