"""What it costs to parse an event, against validating the same event with pydantic alone."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from schemas.change_event import AccountChange, ChangeEventHeader, SourceMessage
from tests.benchmarks.ratios import report, side_by_side
from tests.fixtures.changes import payload
from transforms.coalescing import NEW_ACCOUNT, CoalescingLimits, end_window, receive
from transforms.materiality import Immaterial, load_materiality
from transforms.parse_change_events import parse_message


class _Event(BaseModel):
    """The least that a validated event costs: the header's model, and the fields as they come."""

    model_config = ConfigDict(extra="allow")

    ChangeEventHeader: ChangeEventHeader


def run() -> None:
    """Measure an UPDATE of two fields as the Pub/Sub API sends it, with 40 fields that are null."""
    body: dict[str, Any] = {f"Field{number}__c": None for number in range(40)}
    bytes_ = payload(body | {"Rating": "Hot", "LastModifiedDate": 1641819688000})
    source = SourceMessage(payload=bytes_)
    work = {
        "pydantic alone (model_validate_json)": lambda: _Event.model_validate_json(bytes_),
        "parse_message": lambda: parse_message(source),
        "json.loads": lambda: json.loads(bytes_),
    }
    report("parse: a change event of 1.2 KB", side_by_side(work, repeat=1_000))
    materiality, limits = load_materiality(), CoalescingLimits()

    def to_coalesced() -> object:
        (change,) = parse_message(source)
        if not isinstance(change, AccountChange) or isinstance(materiality.decide(change), Immaterial):
            raise TypeError("the event is a material change")
        state, _ = receive(NEW_ACCOUNT, change, 0.0, limits)
        return end_window(state, limits)

    stages = {
        "pydantic alone (model_validate_json)": lambda: _Event.model_validate_json(bytes_),
        "parse, decide, coalesce, end of window": to_coalesced,
    }
    report("parse to coalesce: the same event, an account of its own", side_by_side(stages, repeat=1_000))
