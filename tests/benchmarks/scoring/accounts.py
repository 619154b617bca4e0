"""The accounts to score: a generated CRM of 8,803, and a change of each."""

import datetime as dt
import functools
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Protocol, TypeVar

from pipeline.local.crm.generator import FULL_SIZE, generate_crm
from schemas.account_context import AccountContext, EnrichedChange
from schemas.change_event import AccountChange
from tests.fixtures.changes import change
from transforms.enrich.account_contexts import ContextBounds

AS_OF: Final = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)
SEED: Final = 1


class _OfAccount(Protocol):
    @property
    def account_id(self) -> str | None: ...


Row = TypeVar("Row", bound=_OfAccount)


@functools.cache
def all_accounts() -> tuple[EnrichedChange, ...]:
    """Return 8,803 accounts with their contexts, limited as the warehouse's query limits them."""
    crm, bounds = generate_crm(accounts=FULL_SIZE, seed=SEED, as_of=AS_OF), ContextBounds()
    deals = _newest(sorted(crm.opportunities, key=lambda row: row.modified_at), bounds.opportunities)
    emails = _newest(sorted(crm.emails, key=lambda row: row.sent_at), bounds.emails)
    calls = _newest(sorted(crm.calls, key=lambda row: row.started_at), bounds.calls)
    return tuple(
        EnrichedChange(
            change=change(number, account_id=profile.account_id, record_id=profile.account_id),
            context=AccountContext(
                profile=profile,
                opportunities=tuple(deals[profile.account_id]),
                emails=tuple(emails[profile.account_id]),
                calls=tuple(calls[profile.account_id]),
            ),
        )
        for number, profile in enumerate(crm.accounts)
    )


def hot_account(count: int) -> list[AccountChange]:
    """Return changes that are all about one account."""
    account_id = all_accounts()[0].change.account_id
    return [change(number, account_id=account_id, record_id=account_id) for number in range(count)]


@functools.cache
def context_of(account_id: str) -> AccountContext:
    """Return an account's context from memory."""
    return _contexts()[account_id]


@functools.cache
def _contexts() -> dict[str, AccountContext]:
    return {item.change.account_id: item.context for item in all_accounts()}


def _newest(rows: Iterable[Row], count: int) -> defaultdict[str, list[Row]]:
    grouped: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.account_id:
            grouped[row.account_id].insert(0, row)
            del grouped[row.account_id][count:]
    return grouped
