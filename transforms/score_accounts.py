"""Score accounts: changes in context → scores, several accounts a Gemini call, many calls in flight."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from schemas.account_context import ChangeInContext, context_hash
from schemas.outcome import OutcomeKind, ScoredChange, ScoringResult
from schemas.score import Score, ScoreAnswer, ScoreStatus, score_id, tier_of
from transforms.answers import check_answers
from transforms.errors import GeminiError
from transforms.gemini import GeminiEngine, GeminiSettings, Generation, shared_engine
from transforms.ledger import Ledger, Received
from transforms.outputs import DEAD_LETTERS, TaggedDeadLetter
from transforms.prices import Price
from transforms.prompt import Prompt, part_suspects, render_prompt, row_flags

STAGE: Final = "Score accounts"
SCORED: Final = "scored"


def split_calls(batch: Sequence[ChangeInContext], accounts_per_call: int) -> list[list[ChangeInContext]]:
    """Return a batch in pieces of at most `accounts_per_call`, of sizes that differ by one at most.

    An account whose texts seem to give orders has a call of its own: whatever they do, they do to its own score.
    """
    suspects, others = part_suspects(batch)
    calls = -(-len(others) // accounts_per_call)
    return [[item] for item in suspects] + [others[number::calls] for number in range(calls)]


def shares(total: int, parts: int) -> list[int]:
    """Return a whole number in parts that differ by one at most and add up to it."""
    return [total // parts + (1 if number < total % parts else 0) for number in range(parts)]


def read_call(
    prompt: Prompt, generation: Generation | GeminiError
) -> list[tuple[ChangeInContext, ScoreAnswer | GeminiError]]:
    """Return an answer or an error for each account of a call; a call that failed, failed for all of them."""
    if isinstance(generation, GeminiError):
        return [(item, generation) for item in prompt.accounts.values()]
    try:
        answers = check_answers(generation.text, prompt.facts)
    except GeminiError as error:
        return [(item, error) for item in prompt.accounts.values()]
    return [(item, answers[short_id]) for short_id, item in prompt.accounts.items()]


@dataclass
class ScoreAccounts(beam.PTransform):
    """list of ChangeInContext → ScoringResult for each; all calls end within the bundle."""

    gemini: GeminiSettings
    pipeline_version: str
    accounts_per_call: int = 5
    price: Price | None = None
    """Of the model; None leaves cost_usd empty."""

    def expand(self, batches: beam.PCollection[list[ChangeInContext]]) -> beam.PCollection[ScoringResult]:
        """Score a batch's accounts, the calls of a batch side by side."""
        return batches | beam.ParDo(_Score(self))


@dataclass
class SplitResults(beam.PTransform):
    """ScoringResult → ScoredChange (main), DeadLetter."""

    def expand(self, results: beam.PCollection[ScoringResult]) -> Any:
        """Part the scores from the failures, after the Reshuffle that keeps both from being paid for again."""
        return results | beam.ParDo(_Split()).with_outputs(DEAD_LETTERS, main=SCORED)


class _Split(beam.DoFn):
    def process(self, result: ScoringResult) -> Iterator[ScoredChange | TaggedDeadLetter]:
        if result.scored:
            yield result.scored
        if result.letter:
            yield TaggedOutput(DEAD_LETTERS, result.letter)


class _Score(beam.DoFn):
    def __init__(self, config: ScoreAccounts) -> None:
        self.gemini = config.gemini
        self.accounts_per_call = config.accounts_per_call
        self.price = config.price
        self.ledger = Ledger(STAGE, config.pipeline_version)
        self.calls = Metrics.counter(STAGE, "gemini_calls_total")
        self.call_milliseconds = Metrics.distribution(STAGE, "api_call_duration_milliseconds")
        self.tokens = Metrics.counter(STAGE, "vertex_ai_token_usage_total")
        self.scored = Metrics.counter(STAGE, "scored_total")
        self.failed = Metrics.counter(STAGE, "account_scoring_errors_total")

    def setup(self) -> None:
        self.engine: GeminiEngine = shared_engine(self.gemini)

    def process(self, batch: Sequence[ChangeInContext]) -> Iterator[ScoringResult]:
        prompts = [render_prompt(call) for call in split_calls(batch, self.accounts_per_call)]
        generations = self.engine.generate_all([(prompt.text, len(prompt.accounts)) for prompt in prompts])
        for prompt, generation in zip(prompts, generations, strict=True):
            self._count(generation)
            for place, (item, answer) in enumerate(read_call(prompt, generation)):
                if isinstance(answer, ScoreAnswer) and isinstance(generation, Generation):
                    self.scored.inc()
                    yield self._scored(item, answer, generation, place, len(prompt.accounts))
                elif isinstance(answer, GeminiError):
                    self.failed.inc()
                    yield self._failed(item, answer)

    def _count(self, generation: Generation | GeminiError) -> None:
        # Counted here, on the thread of process(): what the event loop's thread counts, Beam drops.
        self.calls.inc()
        if isinstance(generation, Generation):
            self.tokens.inc(generation.prompt_tokens + generation.output_tokens)
            self.call_milliseconds.update(int(generation.latency_seconds * 1000))

    def _scored(
        self, item: ChangeInContext, answer: ScoreAnswer, generation: Generation, place: int, accounts: int
    ) -> ScoringResult:
        change, scored_at = item.change, self.ledger.now()
        tokens = {
            "prompt_tokens": shares(generation.prompt_tokens, accounts)[place],
            "cached_tokens": shares(generation.cached_tokens, accounts)[place],
            "output_tokens": shares(generation.output_tokens, accounts)[place],
        }
        score = Score(
            account_id=change.account_id,
            score_id=score_id(change.account_id, change.event_id, self.gemini.prompt_version, self.gemini.model),
            event_ids=(change.event_id, *change.coalesced),
            change_committed_at=change.committed_at,
            change_sequence=change.sequence_number,
            scored_at=scored_at,
            status=ScoreStatus.SCORED,
            score=answer.score,
            tier=tier_of(answer.score),
            confidence=answer.confidence,
            drivers=answer.drivers,
            recommended_action=answer.recommended_action,
            summary=answer.summary,
            changed_fields=change.changed_fields,
            model=self.gemini.model,
            model_version=generation.model_version,
            prompt_version=self.gemini.prompt_version,
            context_hash=context_hash(item.context),
            **tokens,
            cost_usd=self.price.cost_usd(scored_at.date(), **tokens) if self.price else None,
            accounts_in_call=accounts,
            latency_ms=int(generation.latency_seconds * 1000),
            flags=row_flags(item),
            trace_id=change.trace_id,
            pipeline_version=self.ledger.pipeline_version,
        )
        outcome = self.ledger.outcome(Received.of(change), OutcomeKind.SCORED)
        return ScoringResult(scored=ScoredChange(score=score, outcome=outcome, source=change.source))

    def _failed(self, item: ChangeInContext, error: GeminiError) -> ScoringResult:
        letter = self.ledger.dead_letter(Received.of(item.change), error, prompt_version=self.gemini.prompt_version)
        return ScoringResult(letter=letter)
