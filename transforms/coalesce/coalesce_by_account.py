"""Coalesce by account: merge a burst of changes of one account; drop repeated and overtaken ones."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from schemas.change_event import AccountChange
from schemas.outcome import SkipReason
from transforms.coalesce.account_state import NEW_ACCOUNT, AccountState, CoalescingLimits
from transforms.coalesce.coalescing import Decisions, end_window, receive
from transforms.coders import RecordCoder
from transforms.ledger import Ledger
from transforms.outputs import OUTCOMES, TaggedOutcome, stamped

STAGE: Final = "Coalesce by account"
CHANGES: Final = "changes"

_WEEK_SECONDS: Final = 7 * 24 * 3600.0


@dataclass
class CoalesceByAccount(beam.PTransform):
    """Merge bursts in keyed state.

    Input: AccountChange. Outputs: the merged AccountChange (main), Outcome of each change that ends here (`outcomes`).

    A burst ends `window_seconds` after its last change, and at most `max_window_seconds` after its first; with 0 every
    change goes on at once, unless it is repeated or overtaken. An account's state expires `state_ttl_seconds` after its
    last change: an older change that arrives after that goes on, and only the views hide its score. `clock` returns
    epoch seconds and must be picklable.
    """

    pipeline_version: str
    limits: CoalescingLimits = field(default_factory=CoalescingLimits)
    state_ttl_seconds: float = _WEEK_SECONDS
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        """Check the time to live before anything is submitted.

        Raises:
            ValueError: It is shorter than a burst may last.
        """
        if self.state_ttl_seconds < self.limits.max_window_seconds:
            raise ValueError("expected state_ttl_seconds >= max_window_seconds: a burst must not expire")

    def expand(self, changes: beam.PCollection[AccountChange]) -> Any:
        """Key by account, then merge the changes of a key."""
        return (
            changes
            | "Key by account"
            >> beam.Map(lambda change: (change.account_id, change)).with_output_types(tuple[str, AccountChange])
            | "Merge bursts" >> beam.ParDo(_MergeBursts(self)).with_outputs(OUTCOMES, main=CHANGES)
        )


_ACCOUNT: Final = beam.DoFn.StateParam(ReadModifyWriteStateSpec("account", RecordCoder(AccountState)))
# GroupIntoBatches has a timer called "window_end": FnApiRunner would confuse it with one of that name in a fused step.
_BURST_END_TIMER: Final = TimerSpec("burst_end", TimeDomain.REAL_TIME)
_EXPIRY_TIMER: Final = TimerSpec("account_expiry", TimeDomain.WATERMARK)
"""In event time, which follows the clock while messages flow and ends with a bounded input or a drain.

A REAL_TIME timer would hold the watermark at its element's timestamp until it fires, for a week and for every account.
The DirectRunner would end without firing it, so the last bursts of a bounded input would be lost.
"""
_BURST_END: Final = beam.DoFn.TimerParam(_BURST_END_TIMER)
_EXPIRY: Final = beam.DoFn.TimerParam(_EXPIRY_TIMER)

_Outputs = Iterator[AccountChange | TaggedOutcome]


class _MergeBursts(beam.DoFn):
    def __init__(self, config: CoalesceByAccount) -> None:
        self.ledger = Ledger(STAGE, config.pipeline_version)
        self.limits = config.limits
        self.state_ttl_seconds = config.state_ttl_seconds
        self.clock = config.clock
        self.received = Metrics.counter(STAGE, "received_total")
        self.emitted = Metrics.counter(STAGE, "emitted_total")
        self.coalesced = Metrics.counter(STAGE, "coalesced_total")
        self.skips = {
            SkipReason.STALE: Metrics.counter(STAGE, "stale_total"),
            SkipReason.DUPLICATE: Metrics.counter(STAGE, "duplicates_total"),
            SkipReason.ACCOUNT_DELETED: Metrics.counter(STAGE, "account_deleted_total"),
        }

    def process(
        self,
        element: tuple[str, AccountChange],
        window: Any = beam.DoFn.WindowParam,
        account: Any = _ACCOUNT,
        burst_end: Any = _BURST_END,
        expiry: Any = _EXPIRY,
    ) -> _Outputs:
        now = self.clock()
        self.received.inc()
        before = account.read() or NEW_ACCOUNT
        state, decisions = receive(before, element[1], now, self.limits)
        yield from self._outcomes(decisions)
        if state is before:
            return
        if state.pending and not state.is_due(now):
            burst_end.set(state.pending.ends_at)
            account.write(state)
        else:
            yield from self._end_burst(state, account)
        expiry.set(min(Timestamp.of(now + self.state_ttl_seconds), window.end))

    @on_timer(_BURST_END_TIMER)
    def on_burst_end(self, account: Any = _ACCOUNT) -> _Outputs:
        """Emit the pending burst; a timer may fire early, late or twice."""
        yield from self._on_timer(account)

    @on_timer(_EXPIRY_TIMER)
    def on_expiry(self, account: Any = _ACCOUNT) -> _Outputs:
        """Drop the account's state; at the end of a bounded input, emit its last burst first."""
        yield from self._on_timer(account)
        account.clear()

    def _on_timer(self, account: Any) -> _Outputs:
        state = account.read()
        if state:
            now = Timestamp.of(self.clock())
            yield from (stamped(output, now) for output in self._end_burst(state, account))

    def _end_burst(self, state: AccountState, account: Any) -> _Outputs:
        after, change, decisions = end_window(state, self.limits)
        if after is state:
            return
        account.write(after)
        yield from self._outcomes(decisions)
        if change:
            self.emitted.inc()
            yield change

    def _outcomes(self, decisions: Decisions) -> Iterator[TaggedOutcome]:
        for it in decisions:
            counter = self.skips[it.reason] if it.reason else self.coalesced
            counter.inc()
            outcome = self.ledger.outcome(it.received, it.outcome, reason=it.reason, coalesced_into=it.coalesced_into)
            yield TaggedOutput(OUTCOMES, outcome)
