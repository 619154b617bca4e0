"""What a demo runs on: a day that has ended, or events of one's own about accounts of the mirror; what it keeps."""

import datetime as dt
from pathlib import Path

import pytest

from pipeline.ledger.event_files import read_event_files
from pipeline.local.demo_input import events_input, generated_input, kept_events
from schemas.change_event import AccountChange, SourceMessage
from tests.fixtures.changes import ACCOUNT_FIELDS, NOW, account_id, payload
from transforms.parse.message_parsing import parse_message


def _commit_times(payloads: list[bytes]) -> list[dt.datetime]:
    records = [
        record for it in payloads for record in parse_message(SourceMessage(payload=it), account_fields=ACCOUNT_FIELDS)
    ]
    return [record.committed_at for record in records if isinstance(record, AccountChange)]


@pytest.mark.parametrize(("accounts", "seed"), [(1, 1), (40, 7), (1_500, 3)])
def test_every_generated_event_is_in_the_past(accounts: int, seed: int) -> None:
    """An event that somebody makes now, about any of these accounts, is the newest."""
    demo_input = generated_input(accounts, seed, as_of=NOW)
    times = _commit_times(list(demo_input.events))
    assert len(times) >= accounts
    assert max(times) < NOW
    assert min(times) >= NOW - dt.timedelta(hours=25)


def test_generated_events_are_newer_than_the_mirror() -> None:
    """Their values are laid over the mirror's rows, as in production."""
    demo_input = generated_input(40, 7, as_of=NOW)
    assert max(account.modified_at for account in demo_input.crm.accounts) <= min(
        _commit_times(list(demo_input.events))
    )


def test_accounts_of_events_are_added_to_the_mirror(tmp_path: Path) -> None:
    """Those that the generated CRM has already are not added."""
    present = generated_input(3, 1, as_of=NOW).crm.accounts[0].account_id
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join([payload(recordIds=[account_id(1), account_id(2)]), payload(recordIds=[present])]))
    demo_input = events_input(file, 3, 1, as_of=NOW)
    ids = [account.account_id for account in demo_input.crm.accounts]
    assert ids[3:] == [account_id(1), account_id(2)]
    assert demo_input.accounts_added == 2
    assert len(list(demo_input.events)) == 2


def test_kept_events_are_read_as_they_were_published(tmp_path: Path) -> None:
    """All events go on; those that are a line are in the file, byte for byte."""
    lines = [b'{"a": 1}', b"\xff\xfe not text", b" padded "]
    others = [b"", b"two\nlines", b"old\rline", b"  "]
    events = [lines[0], *others, *lines[1:]]
    file = tmp_path / "events.jsonl"
    assert list(kept_events(events, file)) == events
    assert list(read_event_files(file)) == lines


def test_a_later_demo_replaces_the_events(tmp_path: Path) -> None:
    """The file belongs to the last demo that kept its data in the folder."""
    file = tmp_path / "events.jsonl"
    for events in ([b"1", b"2"], [b"3"]):
        assert list(kept_events(events, file)) == events
    assert file.read_bytes() == b"3\n"
