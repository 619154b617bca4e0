"""The tagged outputs that stages have beside their main output: ledger rows and dead letters."""

from typing import Any, Final, Literal

from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome

OUTCOMES: Final = "outcomes"
DEAD_LETTERS: Final = "dead_letters"

TaggedOutcome = TaggedOutput[Literal["outcomes"], Outcome]
TaggedDeadLetter = TaggedOutput[Literal["dead_letters"], DeadLetter]
"""What a DoFn yields beside its main output; Beam reads the types from the annotation of `process`."""


def stamped(output: Any, now: Timestamp) -> Any:
    """Return a timer's output with the current time; by default it has the time for which the timer was set.

    A bounded input fires every timer at its end, so that time can be a week ahead. Timers of later steps would wait for
    it, and FnApiRunner gives up with their elements unprocessed.
    """
    if isinstance(output, TaggedOutput):
        return TaggedOutput(output.tag, TimestampedValue(output.value, now))
    return TimestampedValue(output, now)
