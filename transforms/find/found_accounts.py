"""How a change goes on once its accounts have been looked for: one change for each, an outcome, or a failure. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from schemas.change_event import AccountChange
from schemas.outcome import OutcomeKind, SkipReason
from transforms.errors import AccountNotNamed, RescoringError
from transforms.find.sightings import Wanted

STAGE: Final = "Find accounts"
NO_FAULTS: Final[Mapping[str, RescoringError]] = {}


class Source(StrEnum):
    """Where an account was found."""

    MEMORY = "memory"
    MIRROR = "mirror"
    SALESFORCE = "salesforce"


FOUND_STAGES: Final = {source: f"{STAGE}: {source}" for source in Source}
"""The stage of the `received` row of an account that was found, by where it was found."""


class Found(NamedTuple):
    """The account of a record, None if it belongs to none, and where it was found."""

    account_id: str | None
    source: Source


class Ending(NamedTuple):
    """How a change ends that is about no account."""

    outcome: OutcomeKind | None = None
    reason: SkipReason | None = None
    error: RescoringError | None = None


def found_changes(wanted: Wanted, found: Mapping[str, Found]) -> list[tuple[AccountChange, Source]]:
    """Return a change for each account that was found, and where; the account that the event names is left out."""
    sources = dict.fromkeys(wanted.accounts, Source.MEMORY)
    for record_id in wanted.looked_up:
        it = found.get(record_id)
        if it and it.account_id and it.account_id != wanted.named:
            sources.setdefault(it.account_id, it.source)
    return [(wanted.change.of_account(account_id), source) for account_id, source in sources.items()]


def ending(
    wanted: Wanted, found: Mapping[str, Found], faults: Mapping[str, RescoringError] = NO_FAULTS
) -> Ending | None:
    """Return how a change ends for which no account was found; None if it goes on or has ended elsewhere.

    Args:
        wanted: The change, and what was looked up for it.
        found: What was found, by record.
        faults: Why records could not be looked up, by record.
    """
    missing = [record_id for record_id in wanted.record_ids if record_id not in found]
    fault = next((faults[record_id] for record_id in wanted.looked_up if record_id in faults), None)
    if fault:
        return Ending(error=fault)
    if missing:
        return _not_found(wanted)
    if wanted.named or found_changes(wanted, found):
        return None
    return Ending(OutcomeKind.SKIPPED, reason=SkipReason.NO_ACCOUNT)


def _not_found(wanted: Wanted) -> Ending:
    change = wanted.change
    if change.change_type.is_gap:
        return Ending(OutcomeKind.RESYNC_REQUESTED)
    return Ending(
        error=AccountNotNamed(
            f"{change.entity_name} {change.record_id}: the event names no account, and no earlier event, the mirror or "
            "Salesforce has it: enrich the channel with the field that names it"
        )
    )
