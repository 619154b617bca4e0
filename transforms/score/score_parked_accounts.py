"""Score parked accounts: keep in state what Gemini could not score, and try again until the deadline of each change."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.coders import FloatCoder, registry
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from schemas.outcome import ScoringResult
from transforms.clients.hold import Hold
from transforms.coders import RecordCoder
from transforms.outputs import stamped
from transforms.score.account_scoring import STAGE, AccountScoring, Scoring
from transforms.score.parked_changes import ParkedChange, deadline_of, next_try

# It crosses a shuffle: without our coder it would be pickled.
registry.register_coder(ParkedChange, RecordCoder)

_PARKED: Final = beam.DoFn.StateParam(BagStateSpec("parked_changes", RecordCoder(ParkedChange)))
_DEADLINE: Final = beam.DoFn.StateParam(ReadModifyWriteStateSpec("parked_deadline", FloatCoder()))
_RELEASE_TIMER: Final = TimerSpec("parked_release", TimeDomain.REAL_TIME)
_END_TIMER: Final = TimerSpec("parked_input_end", TimeDomain.WATERMARK)
_RELEASE: Final = beam.DoFn.TimerParam(_RELEASE_TIMER)
_END: Final = beam.DoFn.TimerParam(_END_TIMER)


class ScoreParked(AccountScoring):
    """(key, ParkedChange) → ScoringResult; each key has the changes of one batch, which share calls again.

    What is tried again and fails stays in state, and the bundle is committed: no thread waits for the end of the
    outage. While the circuit is open, a key costs one read of a number, until a probe is due.
    """

    def __init__(self, config: Scoring) -> None:
        super().__init__(config)
        self.policy = config.gemini.circuit
        self.parked = Metrics.counter(STAGE, f"{config.counters}parked_total")
        self.released = Metrics.counter(STAGE, f"{config.counters}released_total")

    def process(
        self,
        element: tuple[str, ParkedChange],
        parked: Any = _PARKED,
        deadline: Any = _DEADLINE,
        release: Any = _RELEASE,
        end: Any = _END,
    ) -> None:
        """Park a change."""
        change = element[1]
        self.parked.inc()
        parked.add(change)
        ends_at = deadline_of([change], self.gemini.outage_deadline_seconds)
        ends_at = min(ends_at, deadline.read() or ends_at)
        deadline.write(ends_at)
        release.set(next_try(self.clock(), ends_at, self.policy.park_seconds))
        end.set(GlobalWindow().max_timestamp())

    @on_timer(_RELEASE_TIMER)
    def on_release(
        self, parked: Any = _PARKED, deadline: Any = _DEADLINE, release: Any = _RELEASE, end: Any = _END
    ) -> Iterator[ScoringResult]:
        """Score the batch if Gemini answers or a probe is due; else try again later."""
        now, ends_at = self.clock(), deadline.read()
        if ends_at is None:
            return  # all were scored: a timer may fire twice
        if now < ends_at and self.engine.would_wait():
            release.set(next_try(now, ends_at, self.policy.park_seconds))
            return
        left = yield from self._tried(list(parked.read()), Hold(self.policy.release_seconds))
        parked.clear()
        if not left:
            deadline.clear()
            end.clear()
            return
        for change in left:
            parked.add(change)
        ends_at = deadline_of(left, self.gemini.outage_deadline_seconds)
        deadline.write(ends_at)
        release.set(next_try(self.clock(), ends_at, self.policy.park_seconds))

    @on_timer(_END_TIMER)
    def on_input_end(
        self, parked: Any = _PARKED, deadline: Any = _DEADLINE, release: Any = _RELEASE
    ) -> Iterator[ScoringResult]:
        """Score what is parked at a drain, or at the end of the input; no timer need fire later, so wait for Gemini."""
        ends_at = deadline.read()
        if ends_at is None:
            return
        left = yield from self._tried(list(parked.read()), Hold(max(0.0, ends_at - self.clock())))
        yield from self._all_given_up(left)
        parked.clear()
        deadline.clear()
        release.clear()  # a timer that is set again and again would keep a drain from its end (apache/beam #33595)

    def _tried(self, parked: Sequence[ParkedChange], hold: Hold) -> Generator[Any, None, list[ParkedChange]]:
        """Yield the results of parked changes; return those that stay parked."""
        items = [change.enriched() for change in parked]
        by_item = {id(item): change for item, change in zip(items, parked, strict=True)}
        left: list[ParkedChange] = []
        for item, result in self.settle(items, hold):
            if result:
                self.released.inc()
                yield stamped(result, Timestamp.of(self.clock()))
            else:
                left.append(by_item[id(item)])
        late = [it for it in left if self.clock() >= deadline_of([it], self.gemini.outage_deadline_seconds)]
        yield from self._all_given_up(late)
        return [it for it in left if it not in late]

    def _all_given_up(self, parked: Iterable[ParkedChange]) -> Iterator[Any]:
        for change in parked:
            yield stamped(self.given_up(change.enriched()), Timestamp.of(self.clock()))
