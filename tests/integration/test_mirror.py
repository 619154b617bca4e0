"""Accounts that events name are added to the mirror."""

import datetime as dt

from pipeline.local.crm.generator import generate_crm
from pipeline.local.mirror import add_named_accounts, mirrored_accounts
from pipeline.local.stack import load_crm
from pipeline.resources.names import CRM_DATASET
from tests.fixtures.changes import NOW, account_id, payload
from transforms.clients.bigquery import Warehouse
from transforms.enrich.account_contexts import ContextBounds, read_account_contexts


def test_named_accounts_are_added_once(warehouse: Warehouse) -> None:
    """Their contexts are found, the mirror's other accounts stay, and those that are there are not added again."""
    crm = generate_crm(accounts=3, seed=1, as_of=NOW)
    load_crm(warehouse, crm)
    present = crm.accounts[0].account_id
    events = [payload(recordIds=[account_id(1), present]), payload(recordIds=[account_id(2)]), b"no event"]
    assert add_named_accounts(warehouse, events, seed=1, as_of=NOW) == 2
    assert add_named_accounts(warehouse, events, seed=1, as_of=NOW) == 0
    ids = {account.account_id for account in mirrored_accounts(warehouse)}
    assert ids == {account.account_id for account in crm.accounts} | {account_id(1), account_id(2)}
    since = NOW - dt.timedelta(days=540)
    contexts = read_account_contexts(
        warehouse, CRM_DATASET, [account_id(1), account_id(2)], since=since, until=NOW, bounds=ContextBounds()
    )
    assert set(contexts) == {account_id(1), account_id(2)}
