"""Generate a day of change events about a CRM's accounts, in every shape, with hostile payloads on request.

Each account has one material change, in shuffled order. In between come repeats and bursts, immaterial changes, related
and unrelated records, creations, deletions and gaps.
"""

import datetime as dt
import random
from collections.abc import Iterator
from typing import Final

from pipeline.local.crm.change_events import JsonObject
from pipeline.local.crm.event_shapes import SHAPES, can_hold, shaped_payload
from pipeline.local.crm.hostile_payloads import HOSTILE
from pipeline.local.crm.org_day import OrgDay
from pipeline.local.crm.records import CrmRecords

_WEIGHTS: Final = {"two_megabytes": 1}
_DEFAULT_WEIGHT: Final = 10


def generate_events(
    crm: CrmRecords, *, count: int, seed: int, start: dt.datetime, garbage_share: float = 0.0
) -> Iterator[bytes]:
    """Yield `count` payloads, with commit times that spread over the day from `start` and never decrease.

    `round(count * garbage_share)` of them are hostile. If the others are at least as many as the accounts, each
    account has a material change (an UPDATE or its CREATE). The same arguments give the same payloads.

    Raises:
        ValueError: `start` has no time zone, the share is not between 0 and 1, or the CRM has no account.
    """
    if not 0 <= garbage_share <= 1:
        raise ValueError(f"garbage_share is {garbage_share}: give a share from 0 to 1")
    _check_arguments(crm, start)
    rng = random.Random(f"payloads/{seed}")
    hostile = set(rng.sample(range(count), round(count * garbage_share)))
    events = generate_flat_events(crm, count=count - len(hostile), seed=seed, start=start)
    # From another day, so that no hostile payload has the event id of a valid event.
    models = OrgDay(crm, rng=random.Random(f"hostile/{seed}"), start=start)
    for position in range(count):
        if position in hostile:
            yield _hostile_payload(rng, models.ordinary_event())
        else:
            yield _payload(rng, next(events))


def generate_flat_events(crm: CrmRecords, *, count: int, seed: int, start: dt.datetime) -> Iterator[JsonObject]:
    """Yield the valid events of the same day as flat events of the Pub/Sub API.

    Raises:
        ValueError: `start` has no time zone, or the CRM has no account.
    """
    _check_arguments(crm, start)
    yield from OrgDay(crm, rng=random.Random(f"events/{seed}"), start=start).events(count)


def _check_arguments(crm: CrmRecords, start: dt.datetime) -> None:
    if start.tzinfo is None:
        raise ValueError(f"start {start} has no time zone: give one, such as UTC")
    if not crm.accounts:
        raise ValueError("the CRM has no account: generate some, or load an extract")


def _payload(rng: random.Random, event: JsonObject) -> bytes:
    return shaped_payload(event, rng.choice([shape for shape in SHAPES.values() if can_hold(shape, event)]))


def _hostile_payload(rng: random.Random, event: JsonObject) -> bytes:
    (name,) = rng.choices(list(HOSTILE), [_WEIGHTS.get(name, _DEFAULT_WEIGHT) for name in HOSTILE])
    return HOSTILE[name](event)
