"""Remember accounts: what the stream itself has told of related records' accounts, in keyed state."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import apache_beam as beam
from apache_beam.coders import registry
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from schemas.change_event import AccountChange, AccountFields, UnnamedChange
from transforms.coders import RecordCoder
from transforms.find.conclusions import Conclusions
from transforms.find.found_accounts import STAGE
from transforms.find.record_state import NEW_STATE, RecordState, end_wait, take
from transforms.find.sightings import Sighting, Wanted, sightings
from transforms.outputs import DEAD_LETTERS, OUTCOMES, TaggedDeadLetter, TaggedOutcome, stamped

CHANGES: Final = "changes"
WANTED: Final = "wanted"


# They cross a shuffle: without our coder they would be pickled.
for _model in (Sighting, Wanted):
    registry.register_coder(_model, RecordCoder)

_WEEK_SECONDS: Final = 7 * 24 * 3600.0


class Changes(NamedTuple):
    """The changes that matter: those that name their account, and those that don't."""

    named: beam.PCollection[AccountChange]
    unnamed: beam.PCollection[UnnamedChange]


@dataclass
class RememberAccounts(beam.PTransform):
    """Answer from keyed state whose account a related record's change is about.

    Input: Changes. Outputs: AccountChange (main), Outcome (`outcomes`), DeadLetter (`dead_letters`), and Wanted of
    changes that the state has no answer for (`wanted`). Changes that name their account only tell the state.

    A question that the state can't answer waits `wait_seconds` for an event that does: a CREATE may arrive after the
    change that follows it. A record's state expires `state_ttl_seconds` after the last event that changed it. `clock`
    returns epoch seconds and must be picklable.
    """

    pipeline_version: str
    account_fields: AccountFields
    state_ttl_seconds: float = _WEEK_SECONDS
    wait_seconds: float = 1.0
    clock: Callable[[], float] = time.time

    def expand(self, changes: Any) -> Any:
        """Key by record, then answer from the record's state."""
        told = changes.named | "Note named accounts" >> beam.ParDo(_NoteNamed(self.account_fields))
        asked = changes.unnamed | "Note unnamed changes" >> beam.ParDo(_NoteUnnamed(self.account_fields))
        return (
            (told, asked)
            | "All sightings" >> beam.Flatten().with_output_types(tuple[str, Sighting])
            | "Answer from state"
            >> beam.ParDo(_Remember(self)).with_outputs(WANTED, OUTCOMES, DEAD_LETTERS, main=CHANGES)
        )


class _NoteNamed(beam.DoFn):
    def __init__(self, account_fields: AccountFields) -> None:
        self.account_fields = account_fields

    def process(self, change: AccountChange) -> Iterator[tuple[str, Sighting]]:
        for sighting in sightings(change, self.account_fields):
            yield sighting.record_id, sighting


class _NoteUnnamed(beam.DoFn):
    def __init__(self, account_fields: AccountFields) -> None:
        self.account_fields = account_fields

    def process(self, change: UnnamedChange) -> Iterator[tuple[str, Sighting]]:
        for sighting in sightings(change, self.account_fields):
            yield sighting.record_id, sighting


_RECORD: Final = beam.DoFn.StateParam(ReadModifyWriteStateSpec("related_record", RecordCoder(RecordState)))
_WAIT_TIMER: Final = TimerSpec("question_wait", TimeDomain.REAL_TIME)
_EXPIRY_TIMER: Final = TimerSpec("record_expiry", TimeDomain.WATERMARK)
"""In event time, as coalescing's timer of expiry is, for the same reasons."""
_WAIT: Final = beam.DoFn.TimerParam(_WAIT_TIMER)
_EXPIRY: Final = beam.DoFn.TimerParam(_EXPIRY_TIMER)

_Outputs = Iterator[AccountChange | TaggedOutcome | TaggedDeadLetter | TaggedOutput[Literal["wanted"], Wanted]]


class _Remember(beam.DoFn):
    def __init__(self, config: RememberAccounts) -> None:
        self.conclusions = Conclusions(config.pipeline_version)
        self.wait_seconds = config.wait_seconds
        self.state_ttl_seconds = config.state_ttl_seconds
        self.clock = config.clock
        self.told = Metrics.counter(STAGE, "told_total")
        self.asked = Metrics.counter(STAGE, "asked_total")

    def process(
        self,
        element: tuple[str, Sighting],
        window: Any = beam.DoFn.WindowParam,
        record: Any = _RECORD,
        wait: Any = _WAIT,
        expiry: Any = _EXPIRY,
    ) -> _Outputs:
        record_id, sighting = element
        self.told.inc(sighting.tells is not None)
        self.asked.inc(sighting.asks is not None)
        before = record.read() or NEW_STATE
        after, answers = take(before, record_id, sighting, waits=self.wait_seconds > 0)
        if after is not before:
            record.write(after)
            now = self.clock()
            if after.waiting and not before.waiting:
                wait.set(now + self.wait_seconds)
            expiry.set(min(Timestamp.of(now + self.state_ttl_seconds), window.end))
        yield from self._concluded(answers)

    @on_timer(_WAIT_TIMER)
    def on_wait(self, record_id: Any = beam.DoFn.KeyParam, record: Any = _RECORD) -> _Outputs:
        """Have what still waits looked up."""
        yield from self._end_wait(record_id, record)

    @on_timer(_EXPIRY_TIMER)
    def on_expiry(self, record_id: Any = beam.DoFn.KeyParam, record: Any = _RECORD) -> _Outputs:
        """Drop the record's state; at the end of a bounded input, have what still waits looked up first."""
        yield from self._end_wait(record_id, record)
        record.clear()

    def _end_wait(self, record_id: str, record: Any) -> _Outputs:
        state = record.read()
        if state and state.waiting:
            after, answers = end_wait(state, record_id)
            record.write(after)
            now = Timestamp.of(self.clock())
            yield from (stamped(output, now) for output in self._concluded(answers))

    def _concluded(self, answers: list[Wanted]) -> _Outputs:
        for wanted in answers:
            if wanted.looked_up:
                yield TaggedOutput(WANTED, wanted)
            else:
                yield from self.conclusions.of(wanted, {})
