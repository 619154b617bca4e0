"""Score accounts: enriched changes → scores, several accounts a Gemini call, many calls in flight.

While Gemini fails, as a whole or for some calls, a bundle waits a short time; then what it could not score is parked in
state and the bundle is committed with the scores that came.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from schemas.account_context import EnrichedChange
from schemas.outcome import ScoredChange, ScoringResult
from transforms.clients.hold import Hold
from transforms.outputs import DEAD_LETTERS, TaggedDeadLetter
from transforms.score.account_scoring import AccountScoring, Scoring
from transforms.score.parked_changes import ParkedChange, parking_key
from transforms.score.score_parked_accounts import ScoreParked

SCORED: Final = "scored"
RESULTS: Final = "results"
PARKED: Final = "parked"


@dataclass
class ScoreAccounts(Scoring, beam.PTransform):
    """list of EnrichedChange → ScoringResult for each; all calls end within the bundle that makes them.

    While Gemini fails as a whole, `cumulativeThrottlingSeconds` reports the time of waiting to the runner. A bounded
    input has no timers to wait for: its batches are held until their deadline. Without `parks`, changes are given up
    after the short time.
    """

    parks: bool = True

    def expand(self, batches: beam.PCollection[list[EnrichedChange]]) -> beam.PCollection[ScoringResult]:
        """Score the accounts of each batch; its calls run beside each other."""
        if batches.is_bounded or not self.parks:
            return batches | beam.ParDo(_Score(self, is_bounded=batches.is_bounded))
        # Under the label that the step has had before it parked anything.
        tried = batches | "ParDo(_Score)" >> beam.ParDo(_TryToScore(self)).with_outputs(PARKED, main=RESULTS)
        released = (
            tried[PARKED]
            | "Key parked" >> beam.Map(lambda parked: parked).with_output_types(tuple[str, ParkedChange])
            | "Score parked" >> beam.ParDo(ScoreParked(self)).with_output_types(ScoringResult)
        )
        return (tried[RESULTS], released) | "With parked" >> beam.Flatten()


@dataclass
class SplitResults(beam.PTransform):
    """ScoringResult → ScoredChange (main), DeadLetter."""

    def expand(self, results: beam.PCollection[ScoringResult]) -> Any:
        """Separate scores from failures, after the Reshuffle that keeps both from being paid for again."""
        return results | beam.ParDo(_Split()).with_outputs(DEAD_LETTERS, main=SCORED)


class _Split(beam.DoFn):
    def process(self, result: ScoringResult) -> Iterator[ScoredChange | TaggedDeadLetter]:
        if result.scored:
            yield result.scored
        if result.dead_letter:
            yield TaggedOutput(DEAD_LETTERS, result.dead_letter)


class _Score(AccountScoring):
    """Scores batches, and gives up what Gemini does not score in time."""

    def __init__(self, config: ScoreAccounts, *, is_bounded: bool = True) -> None:
        super().__init__(config)
        self.is_bounded = is_bounded
        deadline = config.gemini.outage_deadline_seconds
        self.hold_seconds = deadline if is_bounded else min(deadline, config.gemini.circuit.hold_seconds)
        self.hold = Hold(self.hold_seconds)

    def start_bundle(self) -> None:
        self.hold = Hold(self.hold_seconds)

    def process(self, batch: Sequence[EnrichedChange]) -> Iterator[ScoringResult]:
        # The batches of a bounded input's bundle are all there is: each waits, rather than fail beside the first.
        hold = Hold(self.hold_seconds) if self.is_bounded else self.hold
        for item, result in self.settle(batch, hold):
            yield result or self.given_up(item)


class _TryToScore(AccountScoring):
    """Scores batches, and hands on what is to be parked. A bundle waits for as long as one batch may."""

    def __init__(self, config: ScoreAccounts) -> None:
        super().__init__(config)
        self.hold_seconds = min(config.gemini.outage_deadline_seconds, config.gemini.circuit.hold_seconds)
        self.hold = Hold(self.hold_seconds)

    def start_bundle(self) -> None:
        self.hold = Hold(self.hold_seconds)

    def process(
        self, batch: Sequence[EnrichedChange]
    ) -> Iterator[ScoringResult | TaggedOutput[Literal["parked"], tuple[str, ParkedChange]]]:
        started = self.clock()
        ends_at = started + self.gemini.outage_deadline_seconds
        for item, result in self.settle(batch, self.hold):
            if result:
                yield result
            elif self.clock() >= ends_at:
                yield self.given_up(item)
            else:
                yield TaggedOutput(PARKED, (parking_key(batch), ParkedChange.of(item, started)))
