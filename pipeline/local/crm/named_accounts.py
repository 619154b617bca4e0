"""Mirror rows for the accounts that change events name, so that events of one's own, or of others, can be scored."""

import datetime as dt
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pipeline.local.crm.company import Company, generate_company
from pipeline.local.crm.generator import records_of
from pipeline.local.crm.records import CrmRecords
from schemas.change_event import ACCOUNT_ENTITY, AccountChange, SourceMessage
from transforms.filter.materiality import load_materiality
from transforms.parse.message_parsing import parse_message

_BEFORE: Final = dt.timedelta(seconds=1)


@dataclass(frozen=True)
class NamedAccount:
    """What events say about an account: the commit time of the first one, and its name, if one has it."""

    first_event: dt.datetime
    name: str | None = None


NamedAccounts = Mapping[str, NamedAccount]
"""By account id."""


def named_accounts(payloads: Iterable[bytes]) -> NamedAccounts:
    """Return the accounts that readable events are about, in the order in which they are named first.

    Events of the entities that count by default are read.
    """
    accounts: dict[str, NamedAccount] = {}
    account_fields = load_materiality().account_fields
    for payload in payloads:
        for record in parse_message(SourceMessage(payload=payload), account_fields=account_fields):
            if isinstance(record, AccountChange):
                accounts[record.account_id] = _with_change(accounts.get(record.account_id), record)
    return accounts


def told_additions(count: int, events: str) -> str:
    """Return a sentence about the accounts that were added to the mirror because events name them."""
    if not count:
        return f"the mirror has every account that {events} name"
    who = f"1 account that {events} name was" if count == 1 else f"{count} accounts that {events} name were"
    return f"{who} added to the mirror"


def _with_change(known: NamedAccount | None, change: AccountChange) -> NamedAccount:
    told = {**change.enriched, **change.values}.get("Name") if change.entity_name == ACCOUNT_ENTITY else None
    name = told if isinstance(told, str) and told else None
    if known is None:
        return NamedAccount(change.committed_at, name)
    return NamedAccount(min(known.first_event, change.committed_at), name or known.name)


def crm_of_named_accounts(named: NamedAccounts, *, first_index: int, seed: int, as_of: dt.datetime) -> CrmRecords:
    """Return generated companies under the ids of these accounts, as the mirror had them before their first event.

    So the values of the events are newer, and are laid over these.

    Args:
        named: The accounts.
        first_index: Index of the first company; a CRM of the same seed has used those below it.
        seed: Of the CRM.
        as_of: Until when they have opportunities, emails and calls.
    """
    as_of = as_of.astimezone(dt.UTC).replace(microsecond=0)
    return records_of(
        _company(account_id, account, index, seed, as_of)
        for index, (account_id, account) in enumerate(named.items(), start=first_index)
    )


def _company(
    account_id: str, account: NamedAccount, index: int, seed: int, as_of: dt.datetime
) -> tuple[Company, random.Random]:
    rng = random.Random(f"{seed}/{account_id}")
    company = generate_company(index, seed=seed, as_of=as_of, rng=rng)
    profile = company.profile
    modified_at = min(profile.modified_at, account.first_event - _BEFORE)
    changes = {
        "account_id": account_id,
        "name": account.name or profile.name,
        "created_at": min(profile.created_at or modified_at, modified_at),
        "modified_at": modified_at,
    }
    profile = profile.model_copy(update=changes)
    return replace(company, short_name=account.name or company.short_name, profile=profile), rng
