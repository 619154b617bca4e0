"""What a demo runs on: a CRM, and the events of its changes."""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from pipeline.ledger.event_files import read_event_files
from pipeline.local.crm.extract import extract_change_events, load_crm_extract
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.named_accounts import crm_of_named_accounts, named_accounts
from pipeline.local.crm.records import CrmRecords
from pipeline.local.crm.sample_events import generate_events

SAMPLE_COALESCING: Final = ("--coalesce_seconds=1", "--coalesce_max_seconds=5", "--batch_wait_seconds=0.5")
"""Short windows for samples, which are published within seconds; an extract uses the default windows."""

GARBAGE_SHARE: Final = 0.02
SAMPLE_EVENTS_PER_ACCOUNT: Final = 1.25


_DAY: Final = dt.timedelta(hours=24)
_DAY_ENDED: Final = dt.timedelta(hours=1)
"""A generated day has ended by so much: a burst at its end goes on for some seconds."""


@dataclass(frozen=True)
class DemoInput:
    """A CRM for the warehouse, and the events of its changes."""

    crm: CrmRecords
    events: Iterable[bytes]
    coalescing: tuple[str, ...] = ()
    accounts_added: int = 0
    """Accounts of the CRM that are there because the events name them."""


def generated_input(accounts: int, seed: int, *, as_of: dt.datetime) -> DemoInput:
    """Return a generated CRM, and a day of its changes, some of them malformed; the day has ended at `as_of`.

    A later event about one of the accounts, with the time at which it is made, is newer than all of these.
    """
    start = as_of - _DAY - _DAY_ENDED
    crm = generate_crm(accounts=accounts, seed=seed, as_of=start)
    count = int(accounts * SAMPLE_EVENTS_PER_ACCOUNT)
    events = generate_events(crm, count=count, seed=seed, start=start, garbage_share=GARBAGE_SHARE)
    return DemoInput(crm, events, SAMPLE_COALESCING)


def extract_input(folder: Path) -> DemoInput:
    """Return a CRM extract, and the engagement and close of each opportunity as change events in time order."""
    crm = load_crm_extract(folder)
    return DemoInput(crm, (orjson.dumps(event) for event in extract_change_events(crm)))


def kept_events(events: Iterable[bytes], file: Path) -> Iterator[bytes]:
    """Yield events, and write them to a file that `rescore explain` and `rescore publish` read, one on each line.

    Left out are events that are no line: empty ones, and those with line breaks.
    """
    with file.open("wb") as lines:
        for event in events:
            if event.strip() and b"\n" not in event and b"\r" not in event:
                lines.write(event + b"\n")
            yield event


def events_input(path: Path, accounts: int, seed: int, *, as_of: dt.datetime) -> DemoInput:
    """Return the events of files, and a generated CRM with the accounts that they name added."""
    events = list(read_event_files(path))
    crm = generate_crm(accounts=accounts, seed=seed, as_of=as_of)
    known = {account.account_id for account in crm.accounts}
    named = {account_id: it for account_id, it in named_accounts(events).items() if account_id not in known}
    added = crm_of_named_accounts(named, first_index=accounts, seed=seed, as_of=as_of)
    return DemoInput(crm.with_records(added), events, SAMPLE_COALESCING, accounts_added=len(named))
