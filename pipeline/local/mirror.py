"""The CRM mirror of a local stack: what it has, and accounts added to it."""

import datetime as dt
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pipeline.local.crm.fresh_changes import fresh_changes
from pipeline.local.crm.named_accounts import crm_of_named_accounts, named_accounts
from pipeline.local.shell_exports import NO_STACK, stack_of_shell
from pipeline.resources.names import CRM_DATASET
from schemas.account_context import AccountProfile
from schemas.tables import ACCOUNTS, CALLS, CONTACTS, EMAILS, OPPORTUNITIES
from transforms.clients.bigquery import Warehouse

_IDS: Final = "SELECT account_id FROM `{accounts}`"
_ACCOUNTS: Final = "SELECT * FROM `{accounts}` ORDER BY account_id"


def add_named_accounts(warehouse: Warehouse, events: Iterable[bytes], *, seed: int, as_of: dt.datetime) -> int:
    """Add the accounts that events name and the mirror lacks, and return their number."""
    present = {row["account_id"] for row in _query(warehouse, _IDS)}
    named = {account_id: it for account_id, it in named_accounts(events).items() if account_id not in present}
    added = crm_of_named_accounts(named, first_index=len(present), seed=seed, as_of=as_of)
    warehouse.append_rows(CRM_DATASET, ACCOUNTS, added.accounts)
    warehouse.append_rows(CRM_DATASET, OPPORTUNITIES, added.opportunities)
    warehouse.append_rows(CRM_DATASET, EMAILS, added.emails)
    warehouse.append_rows(CRM_DATASET, CALLS, added.calls)
    warehouse.append_rows(CRM_DATASET, CONTACTS, added.contacts)
    return len(named)


def mirrored_accounts(warehouse: Warehouse) -> list[AccountProfile]:
    """Return the accounts that the mirror has, in the order of their ids."""
    return [AccountProfile.model_validate(dict(row)) for row in _query(warehouse, _ACCOUNTS)]


def made_changes(environment: Mapping[str, str], *, count: int, seed: int | None) -> Iterator[bytes]:
    """Yield change events that are made now, about accounts of the mirror of a shell's local stack.

    Raises:
        ValueError: The environment has no local stack, or its mirror no account.
    """
    project = environment.get("GOOGLE_CLOUD_PROJECT")
    if not (project and stack_of_shell(environment) and environment.get("BIGQUERY_EMULATOR_HOST")):
        raise ValueError(NO_STACK)
    warehouse = Warehouse(project)
    try:
        accounts = mirrored_accounts(warehouse)
    finally:
        warehouse.close()
    return fresh_changes(accounts, count=count, rng=random.Random(seed), now=dt.datetime.now(dt.UTC))


def _query(warehouse: Warehouse, sql: str) -> list[Mapping[str, Any]]:
    return warehouse.query(sql.format(accounts=f"{warehouse.project}.{CRM_DATASET}.{ACCOUNTS.name}"))
