"""What the ledger says about one run: how far it is, and its summary."""

import datetime as dt
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.outcome import OutcomeKind


@dataclass(frozen=True)
class LedgerCounts:
    """Ledger rows by outcome and reason, and the messages that they are about."""

    messages: int = 0
    outcomes: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(map(str, OutcomeKind), 0))
    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def may_be_done(self, published: int) -> bool:
        """Return whether there are rows enough for every published message to have its outcome.

        `Progress.is_done` says whether each has one, in a query that costs more.
        """
        received = self.outcomes[OutcomeKind.RECEIVED]
        return self.messages >= published and sum(self.outcomes.values()) - received >= received


@dataclass(frozen=True)
class Progress:
    """How far a run is, in ledger rows."""

    messages: int = 0
    received: int = 0
    explained: int = 0
    unexplained: int = 0
    unwritten: int = 0
    """Scores that are in the ledger and not yet in `account_scores`."""

    def is_done(self, published: int) -> bool:
        """Return whether every message was received and has its outcome, and every score is in its table."""
        is_explained = self.unexplained == 0 and self.explained >= self.received
        return self.messages >= published and is_explained and self.unwritten <= 0


@dataclass(frozen=True)
class ScoredTimes:
    """When Pub/Sub took a message, and when BigQuery took the score that it led to."""

    published_at: dt.datetime
    recorded_at: dt.datetime


@dataclass(frozen=True)
class LedgerSummary(LedgerCounts):
    """The counts of a run, accounts with a score, times of the scored rows, the highest scores."""

    found: Mapping[str, int] = field(default_factory=dict)
    """Accounts of related records that did not name them, by where they were found."""
    accounts_scored: int = 0
    scored: Sequence[ScoredTimes] = ()
    highest: Sequence[Mapping[str, Any]] = ()

    @property
    def latency_seconds(self) -> dict[str, float | None]:
        """Seconds from publication to the scored row."""
        return percentiles([(it.recorded_at - it.published_at).total_seconds() for it in self.scored])


def first_score_seconds(scored: Iterable[ScoredTimes], since: dt.datetime) -> float | None:
    """Return the seconds from a time until BigQuery took the first score of the messages published from then on."""
    first = min((it.recorded_at for it in scored if it.published_at >= since), default=None)
    return None if first is None else round((first - since).total_seconds(), 3)


@dataclass(frozen=True)
class FirstScore:
    """Seconds until the first score; `includes_start`: of a message that waited for the pipeline to start."""

    seconds: float | None
    includes_start: bool


def first_score_of(scored: Sequence[ScoredTimes], first_at: dt.datetime, batch_at: dt.datetime) -> FirstScore:
    """Return the time of the first score of a batch; of the message before it if no other was scored.

    Args:
        scored: The scored rows.
        first_at: When the message was published that waits for the pipeline to start.
        batch_at: When the others were.
    """
    if (seconds := first_score_seconds(scored, batch_at)) is not None:
        return FirstScore(seconds, includes_start=False)
    seconds = first_score_seconds(scored, first_at)
    return FirstScore(seconds, includes_start=seconds is not None)


def percentiles(seconds: list[float]) -> dict[str, float | None]:
    """Return the median and the 95th percentile in seconds; None if there are no values."""
    if not seconds:
        return {"p50": None, "p95": None}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    return {"p50": round(cuts[49], 3), "p95": round(cuts[94], 3)}
