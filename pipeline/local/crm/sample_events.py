"""A day of an organisation: change events about a CRM's accounts, in every shape, and hostile payloads on request.

Each account is changed in a way that matters once, in shuffled order, before the day turns to repeats and bursts;
in between come changes that don't matter, related and unrelated records, creations, deletions and gaps.
"""

import datetime as dt
import random
from collections.abc import Iterator
from typing import Final

from pipeline.local.crm.change_events import JsonObject
from pipeline.local.crm.event_shapes import SHAPES, can_say, shaped_payload
from pipeline.local.crm.hostile_payloads import HOSTILE
from pipeline.local.crm.org_day import OrgDay
from pipeline.local.crm.records import CrmRecords

_RARELY: Final = {"two_megabytes": 1}
_OFTEN: Final = 10


def generate_events(
    crm: CrmRecords, *, count: int, seed: int, start: dt.datetime, garbage_share: float = 0.0
) -> Iterator[bytes]:
    """Yield `count` payloads, commit times spread over the day from `start` on and never falling.

    `round(count * garbage_share)` of them are hostile. Where the others are at least as many as the accounts, each
    account has a material change (an UPDATE or its CREATE) among them. The same arguments give the same payloads.

    Raises:
        ValueError: `start` has no time zone, the share is not within 0 and 1, or there is no account.
    """
    if not 0 <= garbage_share <= 1:
        raise ValueError(f"garbage_share is {garbage_share}: give a share from 0 to 1")
    _refuse_what_no_day_has(crm, start)
    rng = random.Random(f"payloads/{seed}")
    hostile = set(rng.sample(range(count), round(count * garbage_share)))
    events = generate_flat_events(crm, count=count - len(hostile), seed=seed, start=start)
    # Of another day, so that no hostile payload repeats the identity of a well-formed event.
    models = OrgDay(crm, rng=random.Random(f"hostile/{seed}"), start=start)
    for position in range(count):
        if position in hostile:
            yield _hostile_payload(rng, models.ordinary_event())
        else:
            yield _payload(rng, next(events))


def generate_flat_events(crm: CrmRecords, *, count: int, seed: int, start: dt.datetime) -> Iterator[JsonObject]:
    """Yield the same day's well-formed events before they are given a shape.

    Raises:
        ValueError: `start` has no time zone, or there is no account.
    """
    _refuse_what_no_day_has(crm, start)
    yield from OrgDay(crm, rng=random.Random(f"events/{seed}"), start=start).events(count)


def _refuse_what_no_day_has(crm: CrmRecords, start: dt.datetime) -> None:
    if start.tzinfo is None:
        raise ValueError(f"start {start} has no time zone: give one, such as UTC")
    if not crm.accounts:
        raise ValueError("the CRM has no account: generate some, or load an extract")


def _payload(rng: random.Random, event: JsonObject) -> bytes:
    return shaped_payload(event, rng.choice([shape for shape in SHAPES.values() if can_say(shape, event)]))


def _hostile_payload(rng: random.Random, event: JsonObject) -> bytes:
    (name,) = rng.choices(list(HOSTILE), [_RARELY.get(name, _OFTEN) for name in HOSTILE])
    return HOSTILE[name](event)
