"""Overlay: lay the newer values of a change event over the mirror's record in an account context. Pure.

A value that its field can't hold is ignored: the mirror's value stays.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from schemas.account_context import AccountContext, AccountProfile, Opportunity
from schemas.change_event import (
    ACCOUNT_ENTITY,
    ACCOUNT_FIELD,
    DELETIONS,
    WHOLE_RECORDS,
    AccountChange,
    RecordValues,
)
from schemas.field_values import (
    ACCOUNT_COLUMNS,
    NAME_PARTS,
    OPPORTUNITY_COLUMNS,
    OPPORTUNITY_ENTITY,
    Column,
    UnusableValue,
    read_moment,
    read_text,
)
from schemas.salesforce_fields import MODIFIED_FIELD

UNKNOWN: Final = "unknown"
"""Name or stage of an opportunity whose event has only the other one."""

Said = AccountChange | RecordValues
"""What a change says of one record."""

_VALUES_FOR_A_CONTEXT: Final = 2
_ID_LENGTH: Final = 15


def overlay(context: AccountContext, change: AccountChange, most_opportunities: int | None = None) -> AccountContext:
    """Return the context with the values of the change, if they are at least as new as the mirror's records.

    What it says of the account updates the profile, what it says of an opportunity that opportunity. Other records, and
    older values, leave the context as it is. New opportunities push out the oldest ones beyond `most_opportunities`.
    """
    after = context
    for said in change.said:
        if said.entity_name == ACCOUNT_ENTITY:
            profile = _overlaid_profile(after.profile, said)
            after = after if profile is after.profile else after.model_copy(update={"profile": profile})
        elif said.entity_name == OPPORTUNITY_ENTITY:
            after = _with_opportunity(after, said, mirror=context)
    if most_opportunities is None or len(after.opportunities) <= most_opportunities:
        return after
    return after.model_copy(update={"opportunities": after.opportunities[:most_opportunities]})


def context_from_change(change: AccountChange) -> AccountContext | None:
    """Return a context for an account that the mirror lacks, if the change has its name and two values or more.

    Ids do not count, since the prompt leaves them out.
    """
    account = next((said for said in change.said if said.entity_name == ACCOUNT_ENTITY), None)
    if account is None or account.change_type in DELETIONS:
        return None
    known = _account_values(account)
    informative = [name for name, value in known.items() if name in _INFORMATIVE_COLUMNS and value is not None]
    if known.get("name") is None or len(informative) < _VALUES_FOR_A_CONTEXT:
        return None
    profile = AccountProfile(account_id=change.account_id, modified_at=known_at(account), **known)
    return overlay(AccountContext(profile=profile), change)


def known_at(change: Said) -> dt.datetime:
    """Return the time as of which the change's values hold: its commit, or the last write of a record read again.

    A gap event has no values of its own. Those it has were read from Salesforce after the event, so its commit time
    would make them look older than they are.
    """
    modified = change.values.get(MODIFIED_FIELD) if change.change_type.is_gap else None
    try:
        return change.committed_at if modified is None else max(change.committed_at, read_moment(modified))
    except UnusableValue:
        return change.committed_at


def _overlaid_profile(profile: AccountProfile, change: Said) -> AccountProfile:
    if change.change_type in DELETIONS or known_at(change) < profile.modified_at:
        return profile
    known = _account_values(change)
    # The profile is now as of the change, so that an older change that is overlaid later does not win.
    return profile.model_copy(update={**known, "modified_at": known_at(change)}) if known else profile


def _with_opportunity(context: AccountContext, change: Said, mirror: AccountContext) -> AccountContext:
    old = next((it for it in context.opportunities if it.opportunity_id == change.record_id), None)
    others = tuple(it for it in context.opportunities if it is not old)
    if old and known_at(change) < old.modified_at:
        return context
    if change.change_type in DELETIONS or _is_moved_away(change, context.profile.account_id):
        return context.model_copy(update={"opportunities": others}) if old else context
    known = _values(change, OPPORTUNITY_COLUMNS)
    if not known:
        return context
    if old:
        new = old.model_copy(update={**known, "modified_at": known_at(change)})
    elif not known.keys() & {"name", "stage"} or _is_behind(mirror, change):
        return context
    else:
        new = _new_opportunity(change, context.profile.account_id, known)
    return context.model_copy(update={"opportunities": _newest_first((new, *others))})


def _is_moved_away(change: Said, account_id: str) -> bool:
    """Whether a related record belongs to another account, or to none, since this change of its former account."""
    if ACCOUNT_FIELD in change.nulled_fields:
        return True
    now = change.values.get(ACCOUNT_FIELD)
    # Either form of an id begins with the same 15 characters.
    return isinstance(now, str) and now[:_ID_LENGTH] != account_id[:_ID_LENGTH]


def _is_behind(context: AccountContext, change: Said) -> bool:
    """Whether the mirror has newer opportunities: then it lacks this one because it was deleted or moved."""
    return any(it.modified_at > known_at(change) for it in context.opportunities)


def _new_opportunity(change: Said, account_id: str, known: Mapping[str, Any]) -> Opportunity:
    # Salesforce sends both flags with the stage that sets them; without them, the standard stage names decide.
    stage = known.get("stage", UNKNOWN)
    defaults = {
        "name": UNKNOWN,
        "stage": stage,
        "is_closed": stage in {"Closed Won", "Closed Lost"},
        "is_won": stage == "Closed Won",
    }
    return Opportunity(
        opportunity_id=change.record_id,
        account_id=account_id,
        modified_at=known_at(change),
        **{**defaults, **known},
    )


def _newest_first(opportunities: tuple[Opportunity, ...]) -> tuple[Opportunity, ...]:
    """Sort as account_contexts.sql does: by time, newest first, then by id."""
    by_id = sorted(opportunities, key=lambda it: it.opportunity_id)
    return tuple(sorted(by_id, key=lambda it: it.modified_at, reverse=True))


def _account_values(change: Said) -> dict[str, Any]:
    values = _values(change, ACCOUNT_COLUMNS)
    if "name" not in values and (name := _person_name(change)):
        values["name"] = name
    return values


def _values(change: Said, columns: Mapping[str, Column]) -> dict[str, Any]:
    """Return the values of columns that the change has, None where cleared; changed values win over enriched ones."""
    known: dict[str, Any] = {}
    for name in change.nulled_fields:
        # A compound field that was cleared has no parts left.
        cleared = (it for key, it in columns.items() if key == name or key.startswith(f"{name}."))
        known |= {column.name: None for column in cleared if not column.required}
    for name, value in (*change.enriched.items(), *change.values.items()):
        if name not in columns or value is None:
            continue
        try:
            known[columns[name].name] = columns[name].read(value)
        except UnusableValue:
            continue
    return known


def _person_name(change: Said) -> str | None:
    """Return a person account's name as Salesforce composes it: first, middle, last, suffix, without salutation.

    None if a part changed to an unknown value, or if the event has only one of first and last name: the other one is
    unknown. Middle name and suffix exist only in organisations that switch them on, so they are taken to be empty if
    the event lacks them.
    """
    told = {**change.enriched, **change.values}
    parts: dict[str, str] = {}
    for part in NAME_PARTS:
        for name in (f"Name.{part}", part):
            if name in change.changed_fields and told.get(name) is None and name not in change.nulled_fields:
                return None
            if name in change.nulled_fields:
                parts[part] = ""
            elif told.get(name) is not None:
                try:
                    parts[part] = read_text(told[name])
                except UnusableValue:
                    return None
    is_complete = change.change_type in WHOLE_RECORDS or "FirstName" in parts
    if not parts.get("LastName") or not is_complete:
        return None
    return " ".join(parts[part] for part in NAME_PARTS if parts.get(part))


_INFORMATIVE_COLUMNS: Final = {it.name for it in ACCOUNT_COLUMNS.values()} - {
    "name",
    "parent_id",
    "owner_id",
    "created_at",
}
