"""The cost of parsing an event, compared with validating the same event with pydantic alone."""

import json
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict

from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.sample_events import generate_flat_events
from schemas.change_event import AccountChange, ChangeEventHeader, SourceMessage
from tests.benchmarks.org_day import ACCOUNTS, DAY_START
from tests.benchmarks.ratios import report, side_by_side
from tests.fixtures.changes import ACCOUNT_FIELDS, payload
from transforms.coalesce.account_state import NEW_ACCOUNT, AccountState, CoalescingLimits
from transforms.coalesce.coalescing import end_window, receive
from transforms.filter.materiality import Materiality, load_materiality
from transforms.parse.message_parsing import parse_message

EVENTS: Final = 10_000


class _Event(BaseModel):
    """The minimum of validation: the header's model, and the other fields unchecked."""

    model_config = ConfigDict(extra="allow")

    ChangeEventHeader: ChangeEventHeader


def run() -> None:
    """Measure an UPDATE of two fields with 40 null fields, as the Pub/Sub API sends it."""
    body: dict[str, Any] = {f"Field{number}__c": None for number in range(40)}
    bytes_ = payload(body | {"Rating": "Hot", "LastModifiedDate": 1641819688000})
    source = SourceMessage(payload=bytes_)
    work = {
        "pydantic alone (model_validate_json)": lambda: _Event.model_validate_json(bytes_),
        "parse_message": lambda: parse_message(source, account_fields=ACCOUNT_FIELDS),
        "json.loads": lambda: json.loads(bytes_),
    }
    report("parse: a change event of 1.2 KB", side_by_side(work, repeat=1_000))
    materiality, limits = load_materiality(), CoalescingLimits()

    def to_coalesced() -> object:
        (change,) = parse_message(source, account_fields=ACCOUNT_FIELDS)
        if not isinstance(change, AccountChange) or materiality.skip_reason(change):
            raise TypeError("the event is a material change")
        state, _ = receive(NEW_ACCOUNT, change, 0.0, limits)
        return end_window(state, limits)

    stages = {
        "pydantic alone (model_validate_json)": lambda: _Event.model_validate_json(bytes_),
        "parse, decide, coalesce, end of window": to_coalesced,
    }
    report("parse to coalesce: the same event, an account of its own", side_by_side(stages, repeat=1_000))
    day = _day()
    of_a_day = {
        "pydantic alone (model_validate_json)": lambda: [_Event.model_validate_json(it.payload) for it in day],
        "parse, decide, coalesce, end of window": lambda: _coalesced(day, materiality, limits),
    }
    report(f"parse to coalesce: {EVENTS:,} events of a day, for all of them", side_by_side(of_a_day, repeat=1))


def _day() -> list[SourceMessage]:
    """Return a day's events in commit order, in the Pub/Sub API's shape: updates, creations, gaps, bursts."""
    crm = generate_crm(accounts=ACCOUNTS, seed=1, as_of=DAY_START)
    events = generate_flat_events(crm, count=EVENTS, seed=1, start=DAY_START)
    payloads = sorted(events, key=lambda event: event["payload"]["ChangeEventHeader"]["commitTimestamp"])
    return [SourceMessage(payload=orjson.dumps(event["payload"])) for event in payloads]


def _coalesced(day: list[SourceMessage], materiality: Materiality, limits: CoalescingLimits) -> int:
    """Return the number of emitted changes of a day; a window ends when its account's next event comes after it."""
    states: dict[str, AccountState] = {}
    emitted = 0
    for source in day:
        for change in parse_message(source, account_fields=ACCOUNT_FIELDS):
            if not isinstance(change, AccountChange) or materiality.skip_reason(change):
                continue
            state, now = states.get(change.account_id, NEW_ACCOUNT), change.committed_at.timestamp()
            if state.is_due(now):
                state, _, _ = end_window(state, limits)
                emitted += 1
            states[change.account_id], _ = receive(state, change, now, limits)
    return emitted + sum(end_window(state, limits)[1] is not None for state in states.values())


if __name__ == "__main__":
    run()
