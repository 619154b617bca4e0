"""Score the accounts of a batch: what the DoFns share that try, and that try again."""

import concurrent.futures
import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
from apache_beam.metrics import Metrics
from more_itertools import constrained_batches

from schemas.account_context import EnrichedChange, context_hash
from schemas.failures import Severity
from schemas.outcome import OutcomeKind, ScoredChange, ScoringResult
from schemas.score import Score, ScoreStatus, score_id, tier_of
from transforms.clients.gemini_api import GeminiSettings
from transforms.clients.hold import Hold
from transforms.clients.outage import ThrottledSeconds
from transforms.errors import GeminiError, GeminiUnavailable, HoldEnded
from transforms.ledger import Ledger, Received
from transforms.logs import get_logger
from transforms.prompt.prompt import row_flags, split_suspected
from transforms.score.prices import Price
from transforms.score.scoring_engine import (
    Answered,
    AnswerOrError,
    CallStats,
    ScoringEngine,
    estimated_tokens,
    shared_engine,
)

STAGE: Final = "Score accounts"
_REPORT_SECONDS: Final = 5.0
"""How often throttled seconds are counted, and the engine is checked, while a batch is in progress."""
_LOG_LEVELS: Final = {
    Severity.LOW: logging.INFO,
    Severity.MEDIUM: logging.WARNING,
    Severity.HIGH: logging.ERROR,
    Severity.CRITICAL: logging.CRITICAL,
}

_log = get_logger(__name__)


class EngineDied(RuntimeError):
    """The event loop that makes the calls ended: the bundle fails, and the runner repeats it with a new engine."""


def split_calls(
    batch: Sequence[EnrichedChange], accounts_per_call: int, max_prompt_tokens: int
) -> list[list[EnrichedChange]]:
    """Split a batch into calls of at most `accounts_per_call` accounts and, by estimate, `max_prompt_tokens`.

    Calls differ in size by one account at most, unless tokens end one early; an account over the limit of tokens gets a
    call of its own. So does an account with a suspected prompt injection, which can then affect its own score only.
    """
    suspects, others = split_suspected(batch)
    calls = -(-len(others) // accounts_per_call)
    even = (others[number::calls] for number in range(calls))
    return [[item] for item in suspects] + [call for accounts in even for call in _within(accounts, max_prompt_tokens)]


def _within(accounts: Sequence[EnrichedChange], max_tokens: int) -> list[list[EnrichedChange]]:
    if len(accounts) == 1:
        return [list(accounts)]

    def tokens(account: EnrichedChange) -> int:
        return estimated_tokens(account.context.model_dump_json(exclude_none=True))

    return [list(call) for call in constrained_batches(accounts, max_tokens, get_len=tokens, strict=False)]


def shares(total: int, parts: int) -> list[int]:
    """Split a whole number into parts that differ by one at most and add up to it."""
    return [total // parts + (1 if number < total % parts else 0) for number in range(parts)]


def log_failures(failures: Counter[type[GeminiError]]) -> None:
    """Log each kind of failure among a batch's calls once: how often, severity and handling; no text."""
    for kind, times in failures.items():
        severity = kind.severity
        _log.log(
            _LOG_LEVELS[severity],
            "calls to Gemini failed",
            failure=kind.__name__,
            times=times,
            error_class=kind.error_class.value,
            error_severity=severity.value,
            handling=kind.handling.value,
            stage=STAGE,
        )


@dataclass
class Scoring:
    """How accounts are scored.

    Attributes:
        gemini: Model, prompt and limits.
        pipeline_version: For rows and outcomes.
        accounts_per_call: The most of one call.
        price: The model's; None leaves cost_usd empty.
        counters: Prefix of the counters' names: Cloud Monitoring has them by name, whatever their step.
        clock: Epoch seconds; must be picklable.
    """

    gemini: GeminiSettings
    pipeline_version: str
    accounts_per_call: int = 5
    price: Price | None = None
    counters: str = ""
    clock: Callable[[], float] = time.time


class AccountScoring(beam.DoFn):
    """Base of the DoFns that score."""

    def __init__(self, config: Scoring) -> None:
        self.gemini = config.gemini
        self.accounts_per_call = config.accounts_per_call
        self.price = config.price
        self.clock = config.clock
        self.ledger = Ledger(STAGE, config.pipeline_version)
        prefix = config.counters
        self.calls = Metrics.counter(STAGE, f"{prefix}gemini_calls_total")
        self.call_milliseconds = Metrics.distribution(STAGE, f"{prefix}api_call_duration_milliseconds")
        self.tokens = Metrics.counter(STAGE, f"{prefix}vertex_ai_token_usage_total")
        self.scored = Metrics.counter(STAGE, f"{prefix}scored_total")
        self.failed = Metrics.counter(STAGE, f"{prefix}account_scoring_errors_total")
        self.throttled: Callable[[float], None] = ThrottledSeconds(STAGE)

    def setup(self) -> None:
        """Take the engine of the process."""
        self.engine: ScoringEngine = shared_engine(self.gemini)

    def settle(
        self, batch: Sequence[EnrichedChange], hold: Hold
    ) -> Iterator[tuple[EnrichedChange, ScoringResult | None]]:
        """Yield each change with its result; with None if Gemini failed as a whole until the hold ended.

        Raises:
            EngineDied: The calls did not end.
        """
        calls = split_calls(batch, self.accounts_per_call, self.gemini.max_prompt_tokens)
        for call, answers in zip(calls, self._answers(calls, hold), strict=True):
            for item, answer in zip(call, answers, strict=True):
                if isinstance(answer, Answered):
                    self.scored.inc()
                    yield item, self._scored(item, answer)
                elif isinstance(answer, HoldEnded):
                    yield item, None
                else:
                    yield item, self._failed(item, answer)

    def given_up(self, item: EnrichedChange) -> ScoringResult:
        """Return the result of a change that was held, and perhaps parked, until its deadline."""
        seconds = self.gemini.outage_deadline_seconds
        return self._failed(item, GeminiUnavailable(f"Gemini was unavailable for {seconds:g} s"))

    def _answers(self, calls: Sequence[Sequence[EnrichedChange]], hold: Hold) -> list[list[AnswerOrError]]:
        """Block until every account of the batch has an answer or an error: its calls end within the bundle."""
        stats = CallStats()
        reported = 0.0
        if not self.engine.is_alive:  # it died in another thread's bundle
            self.engine = shared_engine(self.gemini)
        future = self.engine.submit(calls, stats, hold)
        while not concurrent.futures.wait([future], timeout=_REPORT_SECONDS).done:
            reported = self._report_throttled(stats, reported)
            if not self.engine.is_alive:
                raise EngineDied("the event loop that calls Gemini ended: the bundle is repeated with a new one")
        self._report_throttled(stats, reported)
        # Here, on the thread of process(): Beam drops counts of other threads.
        self.calls.inc(stats.calls)
        for generation in stats.generations:
            self.tokens.inc(generation.prompt_tokens + generation.output_tokens)
            self.call_milliseconds.update(int(generation.latency_seconds * 1000))
        log_failures(stats.failures)
        return future.result()

    def _report_throttled(self, stats: CallStats, reported: float) -> float:
        """Count the seconds since the last report, and return the seconds reported until now."""
        seconds = max(stats.throttled.seconds, reported)  # read while the event loop may be changing it
        self.throttled(seconds - reported)
        return seconds

    def _scored(self, item: EnrichedChange, answered: Answered) -> ScoringResult:
        change, scored_at = item.change, self.ledger.now()
        answer, generation = answered.answer, answered.generation
        index, accounts = answered.index, answered.accounts
        prompt_tokens, cached_tokens, output_tokens = (
            shares(total, accounts)[index]
            for total in (generation.prompt_tokens, generation.cached_tokens, generation.output_tokens)
        )
        score = Score(
            account_id=change.account_id,
            score_id=score_id(change.account_id, change.event_id, self.gemini.prompt_version, self.gemini.model),
            event_ids=(change.event_id, *change.coalesced),
            change_committed_at=change.row_order.committed_at,
            change_sequence=change.row_order.sequence_number,
            scored_at=scored_at,
            status=ScoreStatus.SCORED,
            score=answer.score,
            tier=tier_of(answer.score),
            confidence=answer.confidence,
            drivers=tuple(driver.as_row() for driver in answer.drivers),
            recommended_action=answer.recommended_action,
            summary=answer.summary,
            changed_fields=change.changed_fields,
            model=self.gemini.model,
            model_version=generation.model_version,
            prompt_version=self.gemini.prompt_version,
            context_hash=context_hash(item.context),
            prompt_tokens=prompt_tokens,
            cached_tokens=cached_tokens,
            output_tokens=output_tokens,
            cost_usd=self._cost_usd(scored_at.date(), prompt_tokens, cached_tokens, output_tokens),
            accounts_in_call=accounts,
            latency_ms=int(generation.latency_seconds * 1000),
            flags=(*answered.flags, *row_flags(item)),
            trace_id=change.trace_id,
            pipeline_version=self.ledger.pipeline_version,
        )
        outcome = self.ledger.outcome(Received.of(change), OutcomeKind.SCORED)
        return ScoringResult(scored=ScoredChange(score=score, outcome=outcome, source=change.source))

    def _cost_usd(self, day: dt.date, prompt_tokens: int, cached_tokens: int, output_tokens: int) -> float | None:
        if self.price is None:
            return None
        return self.price.cost_usd(
            day, prompt_tokens=prompt_tokens, cached_tokens=cached_tokens, output_tokens=output_tokens
        )

    def _failed(self, item: EnrichedChange, error: GeminiError) -> ScoringResult:
        self.failed.inc()
        dead_letter = self.ledger.dead_letter(
            Received.of(item.change), error, prompt_version=self.gemini.prompt_version
        )
        return ScoringResult(dead_letter=dead_letter)
