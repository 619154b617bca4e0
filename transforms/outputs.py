"""The tagged outputs that stages have beside their main output: ledger rows and dead letters."""

from typing import Final, Literal

from apache_beam.pvalue import TaggedOutput

from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome

OUTCOMES: Final = "outcomes"
DEAD_LETTERS: Final = "dead_letters"

TaggedOutcome = TaggedOutput[Literal["outcomes"], Outcome]
TaggedDeadLetter = TaggedOutput[Literal["dead_letters"], DeadLetter]
"""What a DoFn yields beside its main output; Beam reads the types from the annotation of `process`."""
