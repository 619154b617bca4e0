"""What the pipeline would decide about payloads of dead letters, with the look-ups that it would make."""

import base64
from collections.abc import Collection
from typing import Any

import orjson

from pipeline.dead_letters.dead_letter_table import message_to_replay
from pipeline.dead_letters.replay_plan import UNREAD, decisions_of, scaled
from schemas.change_event import SourceMessage
from tests.fixtures.changes import NOW, account_id, event, payload
from transforms.filter.materiality import load_materiality
from transforms.parse.avro_schemas import NO_SCHEMAS

RULES = load_materiality(None)


def _decisions(*payloads: bytes | None, here: Collection[str] = ()) -> dict[str, int]:
    return dict(decisions_of(_messages(*payloads), RULES, NO_SCHEMAS, lambda ids: frozenset(ids) - frozenset(here)))


def _messages(*payloads: bytes | None) -> list[SourceMessage | None]:
    return [None if it is None else SourceMessage(payload=it) for it in payloads]


def _update(*numbers: int, **fields: Any) -> bytes:
    return payload(recordIds=[account_id(number) for number in numbers], **fields)


def test_a_change_of_an_account_that_the_mirror_lacks_is_refused() -> None:
    """A look-up would refuse it; it would be scored if the mirror had the account."""
    assert _decisions(_update(1), _update(2), here=[account_id(1)]) == {"rescore": 1, "account_not_found": 1}


def test_of_several_records_one_that_is_scored_counts() -> None:
    """A message about several accounts is worth its replay if one of them can be scored."""
    assert _decisions(_update(1, 2), here=[account_id(2)]) == {"rescore": 1}
    assert _decisions(_update(1, 2)) == {"account_not_found": 1}


def test_of_several_events_the_dead_letter_s_own_is_decided() -> None:
    """The others of its message went on, and a replay does not read them."""
    payload_base64 = base64.b64encode(orjson.dumps([event(), {"no": "event"}])).decode()
    message = message_to_replay(payload_base64, {"event_in_message": "2"}, 0, NOW)
    assert decisions_of([message], RULES, NO_SCHEMAS, lambda _: frozenset()) == {"dead_letter": 1}
    assert message_to_replay(None, {}, 0, NOW) is None


def test_what_needs_no_account_is_decided_without_the_mirror() -> None:
    """Deletions, unreadable payloads, and those that only the message holds."""
    assert _decisions(_update(1, changeType="DELETE"), b"not json", None) == {
        "tombstone": 1,
        "dead_letter": 1,
        UNREAD: 1,
    }


def test_an_event_that_has_enough_values_needs_no_mirror() -> None:
    """A new account is scored from its own event, which has its name and more."""
    created = payload(
        {"Name": "Acme", "Industry": "Energy", "AnnualRevenue": 5_000_000.0},
        recordIds=[account_id(1)],
        changeType="CREATE",
        changedFields=[],
    )
    assert _decisions(created) == {"rescore": 1}


def test_a_sample_is_scaled_to_the_total() -> None:
    """The largest first; an empty sample says nothing."""
    assert scaled(decisions_of(_messages(b"not json", _update(1)), RULES, NO_SCHEMAS, lambda _: frozenset()), 10) == {
        "dead_letter": 5,
        "rescore": 5,
    }
    assert scaled(decisions_of([], RULES, NO_SCHEMAS, lambda _: frozenset()), 10) == {}
