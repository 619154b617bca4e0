"""A day of a large organisation: 100,000 deliveries over 8,803 accounts, through the functions that the stages call.

Time is simulated, so that a day takes minutes: arrivals and the ends of windows happen in order of their times. The
result is a ledger, which `rescore reconcile` checks in the BigQuery emulator (tests/benchmarks/reconciled_day.py).
"""

import datetime as dt
import heapq
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from cachetools import TTLCache

from pipeline.local.crm.event_shapes import SHAPES, can_hold, shaped_payload
from pipeline.local.crm.generator import generate_crm
from pipeline.local.crm.hostile_payloads import HOSTILE
from pipeline.local.crm.sample_events import generate_flat_events
from schemas.change_event import AccountChange, SourceMessage, UnnamedChange
from schemas.outcome import Outcome, OutcomeKind, dead_lettered
from tests.fixtures.changes import ACCOUNT_FIELDS
from transforms.coalesce.account_state import AccountState, CoalescingLimits
from transforms.coalesce.coalescing import Decisions, end_window, receive
from transforms.coalesce.tombstones import is_deletion
from transforms.filter.materiality import Materiality, load_materiality
from transforms.find.account_cache import CACHED_RECORDS, CACHED_SECONDS
from transforms.find.account_memory import NEW_RECORD, RecordMemory
from transforms.find.found_accounts import Found, Source, ending, found_changes
from transforms.find.mirror_owners import MIRROR_TABLES
from transforms.find.sightings import Wanted, answer, sightings
from transforms.ledger import Ledger, Received
from transforms.parse.account_changes import NoChange, Refusal
from transforms.parse.message_parsing import parse_message

ACCOUNTS: Final = 8_803
EVENTS: Final = 89_000
DUPLICATES: Final = 10_000
GARBAGE: Final = 1_000
REORDERED_SHARE: Final = 0.05
REORDERED_BY_SECONDS: Final = 3_600.0
DAY_START: Final = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)
LIMITS: Final = CoalescingLimits()
LOOK_UP_WAIT_SECONDS: Final = 1.0
_MIRRORED: Final = tuple(table.prefix for table in MIRROR_TABLES)
NO_MIRROR: Final[Mapping[str, str | None]] = {}


@dataclass(order=True)
class Arrival:
    """A message and its time of arrival in epoch seconds."""

    at: float
    number: int
    payload: bytes = field(compare=False)


def arrivals(seed: int) -> list[Arrival]:
    """Return a day's deliveries in order of arrival; some are repeated, late or garbage."""
    dice = random.Random(seed)
    crm = generate_crm(accounts=ACCOUNTS, seed=seed, as_of=DAY_START)
    numbers = count()
    came: list[Arrival] = []
    shapes = list(SHAPES.values())
    hostile = list(HOSTILE.values())
    for event in generate_flat_events(crm, count=EVENTS, seed=seed, start=DAY_START):
        shape = next(shape for shape in dice.sample(shapes, len(shapes)) if can_hold(shape, event))
        at = event["payload"]["ChangeEventHeader"]["commitTimestamp"] / 1000 + dice.random()
        late = dice.uniform(0, REORDERED_BY_SECONDS) if dice.random() < REORDERED_SHARE else 0.0
        came.append(Arrival(at + late, next(numbers), shaped_payload(event, shape)))
    came += [
        Arrival(original.at + dice.expovariate(1 / 120), next(numbers), original.payload)
        for original in dice.sample(came, DUPLICATES)
    ]
    sample = next(iter(generate_flat_events(crm, count=1, seed=seed + 1, start=DAY_START)))
    for _ in range(GARBAGE):
        at = DAY_START.timestamp() + dice.uniform(0, 86_400)
        came.append(Arrival(at, next(numbers), dice.choice(hostile)(sample)))
    return sorted(came)


@dataclass
class Day:
    """The outcomes of a day's deliveries."""

    outcomes: list[Outcome] = field(default_factory=list)
    emitted: list[AccountChange] = field(default_factory=list)
    newest: dict[str, AccountChange] = field(default_factory=dict)
    """The newest material change of each account, by commit order."""
    found: Counter[Source] = field(default_factory=Counter)
    """Accounts of related records that were found, by where."""
    queries: int = 0
    """Queries to the mirror for them."""
    closed_won: set[str] = field(default_factory=set)
    """Events that an opportunity was won."""


class Simulation:
    """The stages from parsing to coalescing, with a simulated clock; `mirror` has the accounts of related records."""

    def __init__(self, materiality: Materiality | None = None, mirror: Mapping[str, str | None] = NO_MIRROR) -> None:
        self.day = Day()
        self.now = 0.0
        self.states: dict[str, AccountState] = {}
        self._memories: dict[str, RecordMemory] = {}
        self._mirror = mirror
        self._cached = TTLCache[str, bool](CACHED_RECORDS, CACHED_SECONDS, timer=lambda: self.now)
        self._batch_ends = 0.0
        self._materiality = materiality or load_materiality()
        self._timers: list[tuple[float, str]] = []
        self._ledger = Ledger("simulation", "0", now=lambda: dt.datetime.fromtimestamp(self.now, dt.UTC))

    def deliver(self, arrival: Arrival) -> None:
        """Process a message at its time of arrival, after all windows that end before it."""
        self._end_windows(before=arrival.at)
        self.now = arrival.at
        source = SourceMessage(payload=arrival.payload, message_id=str(arrival.number))
        for record in parse_message(source, account_fields=ACCOUNT_FIELDS):
            received = record.received if isinstance(record, NoChange | Refusal) else Received.of(record)
            self._record(received, OutcomeKind.RECEIVED)
            if not isinstance(record, NoChange | Refusal) and record.values.get("StageName") == "Closed Won":
                self.day.closed_won.add(record.event_id)
            match record:
                case NoChange():
                    self.day.outcomes.append(self._ledger.outcome(received, record.outcome, reason=record.reason))
                case Refusal():
                    self.day.outcomes.append(dead_lettered(self._ledger.dead_letter(received, record.error)))
                case AccountChange() | UnnamedChange():
                    self._filter(record)

    def finish(self) -> Day:
        """End the windows that are still open."""
        self._end_windows(before=float("inf"))
        return self.day

    def _filter(self, change: AccountChange | UnnamedChange) -> None:
        reason = self._materiality.skip_reason(change)
        if reason:
            skipped = self._ledger.outcome(Received.of(change), OutcomeKind.SKIPPED, reason=reason)
            self.day.outcomes.append(skipped)
            return
        if isinstance(change, AccountChange):
            self._decide(change)
        for sighting in sightings(change, ACCOUNT_FIELDS):
            memory = self._memories.get(sighting.record_id, NEW_RECORD)
            if sighting.tells:
                memory = self._memories[sighting.record_id] = memory.with_owner(sighting.tells)
            if sighting.asks:
                self._find(answer(sighting.asks, sighting.record_id, memory))

    def _find(self, wanted: Wanted) -> None:
        self._count_query(wanted.looked_up)
        found = {it: Found(self._mirror[it], Source.MIRROR) for it in wanted.looked_up if it in self._mirror}
        for change, source in found_changes(wanted, found):
            self.day.found[source] += 1
            self._record(Received.of(change), OutcomeKind.RECEIVED)
            self._decide(change)
        end = ending(wanted, found)
        received = Received.of(wanted.change)
        if end and end.error:
            self.day.outcomes.append(dead_lettered(self._ledger.dead_letter(received, end.error)))
        elif end and end.outcome:
            self.day.outcomes.append(self._ledger.outcome(received, end.outcome, reason=end.reason))

    def _count_query(self, record_ids: Iterable[str]) -> None:
        """Count a query if it is not one of a batch that is under way, and a record has a table and is not cached."""
        new = [it for it in record_ids if it.startswith(_MIRRORED) and it not in self._cached]
        self._cached.update({it: True for it in new if self._mirror.get(it)})
        if new and self.now >= self._batch_ends:
            self.day.queries += 1
            self._batch_ends = self.now + LOOK_UP_WAIT_SECONDS

    def _decide(self, change: AccountChange) -> None:
        newest = self.day.newest.get(change.account_id)
        if newest is None or change.order > newest.order:
            self.day.newest[change.account_id] = change
        before = self.states.get(change.account_id, AccountState())
        state, decisions = receive(before, change, self.now, LIMITS)
        self._record_all(decisions)
        self.states[change.account_id] = state
        if state is not before and state.pending:
            heapq.heappush(self._timers, (state.pending.ends_at, change.account_id))

    def _end_windows(self, *, before: float) -> None:
        while self._timers and self._timers[0][0] <= before:
            at, account_id = heapq.heappop(self._timers)
            state = self.states[account_id]
            if not state.pending or state.pending.ends_at > at:
                continue  # a later change has extended the window and set another timer
            self.now = at
            self.states[account_id], change, decisions = end_window(state, LIMITS)
            self._record_all(decisions)
            if change:
                self.day.emitted.append(change)
                kind = OutcomeKind.TOMBSTONED if is_deletion(change) else OutcomeKind.SCORED
                self._record(Received.of(change), kind)

    def _record(self, received: Received, kind: OutcomeKind) -> None:
        self.day.outcomes.append(self._ledger.outcome(received, kind))

    def _record_all(self, decisions: Decisions) -> None:
        for it in decisions:
            self.day.outcomes.append(
                self._ledger.outcome(it.received, it.outcome, reason=it.reason, coalesced_into=it.coalesced_into)
            )


def mirrored_accounts(seed: int) -> dict[str, str | None]:
    """Return the accounts that the mirror has of opportunities and contacts at the start of the day."""
    crm = generate_crm(accounts=ACCOUNTS, seed=seed, as_of=DAY_START)
    accounts = {deal.opportunity_id: deal.account_id for deal in crm.opportunities}
    return accounts | {contact.contact_id: contact.account_id for contact in crm.contacts}


def simulate(came: list[Arrival], mirror: Mapping[str, str | None] = NO_MIRROR) -> Day:
    """Return the outcomes of deliveries, in order of arrival."""
    simulation = Simulation(mirror=mirror)
    for arrival in came:
        simulation.deliver(arrival)
    return simulation.finish()


def overtaken_accounts(day: Day) -> Iterator[str]:
    """Yield the accounts whose last row is older than the newest change that was delivered, unless they are deleted.

    Two changes with equal commit order (two transactions within a second) both count as the newest.
    """
    last = {change.account_id: change for change in day.emitted}
    for account_id, newest in day.newest.items():
        change = last.get(account_id)
        if change is None or (change.row_order < newest.order and not is_deletion(change)):
            yield account_id
