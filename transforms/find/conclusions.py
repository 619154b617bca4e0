"""What leaves the stage for a change: a change for each account, their `received` rows, an outcome or a dead letter."""

from collections.abc import Iterator, Mapping

from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from schemas.change_event import AccountChange
from schemas.outcome import OutcomeKind
from transforms.errors import RescoringError
from transforms.find.found_accounts import FOUND_STAGES, NO_FAULTS, STAGE, Found, Source, ending, found_changes
from transforms.find.sightings import Wanted
from transforms.ledger import Ledger, Received
from transforms.outputs import DEAD_LETTERS, OUTCOMES, TaggedDeadLetter, TaggedOutcome


class Conclusions:
    """Makes the outputs, and counts them; all outputs of one change leave in one bundle."""

    def __init__(self, pipeline_version: str) -> None:
        self._ledger = Ledger(STAGE, pipeline_version)
        self._ledgers = {source: Ledger(stage, pipeline_version) for source, stage in FOUND_STAGES.items()}
        self._found = {source: Metrics.counter(STAGE, f"found_by_{source}_total") for source in Source}
        self._not_found = Metrics.counter(STAGE, "not_found_total")
        self._without_account = Metrics.counter(STAGE, "without_account_total")

    def of(
        self, wanted: Wanted, found: Mapping[str, Found], faults: Mapping[str, RescoringError] = NO_FAULTS
    ) -> Iterator[AccountChange | TaggedOutcome | TaggedDeadLetter]:
        """Yield the outputs of a change; see `ending` for the arguments."""
        for change, source in found_changes(wanted, found):
            self._found[source].inc()
            yield TaggedOutput(OUTCOMES, self._ledgers[source].outcome(Received.of(change), OutcomeKind.RECEIVED))
            yield change
        end = ending(wanted, found, faults)
        if end is None:
            return
        received = Received.of(wanted.change)
        if end.error:
            self._not_found.inc()
            yield TaggedOutput(DEAD_LETTERS, self._ledger.dead_letter(received, end.error))
        elif end.outcome:
            (self._without_account if end.reason else self._not_found).inc()
            yield TaggedOutput(OUTCOMES, self._ledger.outcome(received, end.outcome, reason=end.reason))
