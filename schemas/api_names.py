"""Salesforce's API names without regard to case: those of the configuration, typed by people, and those of events.

Salesforce itself takes a name in any case, and its events bring each in one case. A name of an event is first looked up
as it is, which is all that happens as long as both agree.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeVar

T = TypeVar("T")

REFERENCES: Final = (
    *("AccountId", "WhatId", "WhoId", "ContactId", "OpportunityId", "CaseId", "ContractId", "OrderId", "ParentId"),
    *("ConvertedAccountId", "RelatedToId", "PersonContactId"),
)
"""Standard fields that refer to a record; the configuration has them in Salesforce's case only."""

_KNOWN: Final = frozenset(REFERENCES)


class ByEntity(dict[str, T]):
    """Values by the name of an entity, which is found in any case; iterating gives the names of the configuration."""

    def __init__(self, values: Iterable[tuple[str, T]] = ()) -> None:
        """Take the values; of names that differ only in case, the last one counts."""
        super().__init__(values)
        self._folded = {name.casefold(): value for name, value in self.items()}

    def __contains__(self, name: object) -> bool:
        """Whether there is a value for the entity."""
        return super().__contains__(name) or (isinstance(name, str) and name.casefold() in self._folded)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the entity's value."""
        value = super().get(name)
        return self._folded.get(name.casefold(), default) if value is None else value

    def __missing__(self, name: str) -> T:
        """Return the value of a name in another case."""
        return self._folded[name.casefold()]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the values only."""
        return type(self), (tuple(self.items()),)


def spelled(names: tuple[str, ...], *given: Iterable[str]) -> tuple[str, ...]:
    """Return names of fields, of the configuration, as an event has them; those that it does not have stay as they are.

    `given` are the event's names of fields, or mappings by them.
    """
    if _KNOWN.issuperset(names):
        return names
    by_folded = {name.casefold(): name for some in given for name in some}
    return tuple(by_folded.get(name.casefold(), name) for name in names)
