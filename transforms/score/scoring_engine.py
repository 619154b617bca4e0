"""The scoring engine: calls to Gemini in flight on one event loop a process, until every account has a result.

    settle (call_plan)            split, repeat, or give up calls until every account has an answer or an error
      ask                         one call, for as long as it takes: retries, and waits while the circuit is open
        attempt (gemini_circuit)  delays the call while Gemini fails as a whole, except for one probe at a time
          call                    the concurrency limit, a deadline, the transport, validation of the answers

Threads submit batches and wait; everything else happens on the event loop. If its thread dies, waiting threads get an
exception, and the next bundle a new engine.
"""

import asyncio
import functools
import gc
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import orjson
import uvloop

from schemas.account_context import EnrichedChange
from schemas.score import ScoreAnswer
from transforms.clients.gemini import RestTransport
from transforms.clients.gemini_api import GeminiSettings, Generation, GenerationRequest, Transport
from transforms.clients.hold import Hold
from transforms.errors import (
    GeminiError,
    GeminiRefusedPrompt,
    GeminiTimeout,
    GeminiUnavailable,
    HoldEnded,
    InvalidResponse,
    OutputTruncated,
    QuotaExhausted,
    Unauthenticated,
)
from transforms.process import once_per_process
from transforms.prompt.prompt import Prompt, render_prompt, shown_text
from transforms.score.adaptive_limit import AdaptiveLimit, ConcurrencyLimiter, ThrottledTime
from transforms.score.answers import check_answers
from transforms.score.call_plan import settle
from transforms.score.gemini_circuit import GeminiCircuit
from transforms.score.retries import Backoff

CHARACTERS_PER_TOKEN: Final = 4
"""A rough estimate for English text and JSON; Gemini's own limit is far above ours, so it need not be exact."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An account's answer and the call that brought it; the index in the call decides on the share of its cost."""

    answer: ScoreAnswer
    generation: Generation
    index: int
    accounts: int
    flags: tuple[str, ...] = ()
    """What the row must say of the answer."""


AnswerOrError = Answered | GeminiError


@dataclass
class CallStats:
    """The calls of one batch, counted on the event loop; Beam accepts counts on the thread of `process` only."""

    calls: int = 0
    generations: list[Generation] = field(default_factory=list)
    failures: Counter[type[GeminiError]] = field(default_factory=Counter)
    """Failed calls and rejected entries."""
    throttled: ThrottledTime = field(default_factory=ThrottledTime)


class _NoTurn(Exception):
    """The limit allowed no call until the hold ended; none was made, so the circuit must not count it."""


class ScoringEngine:
    """One event loop, transport, concurrency limit and circuit breaker for all the threads of a process."""

    def __init__(self, settings: GeminiSettings, transport: Transport | None = None) -> None:
        """Start the event loop. No connection is opened yet."""
        _freeze_loaded_objects()
        self.settings = settings
        self._transport = transport or RestTransport(settings)
        self._limiter = ConcurrencyLimiter(AdaptiveLimit(ceiling=settings.max_calls_in_flight))
        self._circuit = GeminiCircuit(settings.circuit, self._indicates_outage)
        self._loop = uvloop.new_event_loop()
        # A daemon: the process may end without closing the engine, and what was in flight is redelivered.
        self._thread = threading.Thread(target=self._loop.run_forever, name="gemini", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the event loop runs; what is submitted to a dead one never ends."""
        return self._thread.is_alive()

    def would_wait(self) -> bool:
        """Whether calls would be delayed, since Gemini fails as a whole and no probe is due.

        Not those of an engine whose event loop died: no probe would ever be due, and who submits calls notices it.
        """
        return self.is_alive and self._circuit.would_wait()

    def submit(
        self, calls: Sequence[Sequence[EnrichedChange]], stats: CallStats, hold: Hold
    ) -> "Future[list[list[AnswerOrError]]]":
        """Start to score the accounts of some calls, and return the future of their results, in the same order.

        The future has an exception only for a fault of this program; all calls have ended by then.

        Args:
            calls: The accounts of each call.
            stats: Counts the calls.
            hold: How long calls may be delayed from the first failure of the service; then their error is HoldEnded.
        """
        return asyncio.run_coroutine_threadsafe(self._score(calls, stats, hold), self._loop)

    def close(self) -> None:
        """Close the connections and end the event loop; no batch may be in progress."""
        asyncio.run_coroutine_threadsafe(self._transport.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _indicates_outage(self, error: GeminiError) -> bool:
        """A 429 does only when one call at a time is refused; until then, fewer calls at once are the remedy."""
        return not isinstance(error, QuotaExhausted) or self._limiter.limit.is_at_floor

    async def _score(
        self, calls: Sequence[Sequence[EnrichedChange]], stats: CallStats, hold: Hold
    ) -> list[list[AnswerOrError]]:
        ends_at = self._loop.time() + self.settings.outage_deadline_seconds

        async def ask(items: Sequence[EnrichedChange]) -> Sequence[AnswerOrError]:
            try:
                async with asyncio.timeout_at(ends_at):
                    return await self._ask(items, stats, hold)
            except TimeoutError:
                seconds = self.settings.outage_deadline_seconds
                raise HoldEnded(f"Gemini did not answer the calls of a batch within {seconds:g} s") from None

        async with asyncio.TaskGroup() as group:  # if one has an exception, the others end before it is raised
            tasks = [group.create_task(settle(items, ask)) for items in calls]
        return [task.result() for task in tasks]

    async def _ask(self, items: Sequence[EnrichedChange], stats: CallStats, hold: Hold) -> Sequence[AnswerOrError]:
        """Make one call; delay and retry it as long as the service fails and the hold lasts."""
        prompt = render_prompt(items)
        if estimated_tokens(prompt.text) > self.settings.max_prompt_tokens:
            raise GeminiRefusedPrompt(f"the prompt is over --max_prompt_tokens={self.settings.max_prompt_tokens}")
        first = functools.partial(self._call, prompt, items, stats)
        again = functools.partial(self._call, prompt, items, stats, hold)
        try:
            return await self._retried(first, again, len(items), stats.throttled, hold)
        except GeminiError as error:
            if hold.is_over and self._circuit.is_open() and not isinstance(error, HoldEnded):
                raise HoldEnded(f"Gemini fails as a whole: {error}") from None
            raise

    async def _retried(
        self,
        first: Callable[[], Awaitable[Sequence[AnswerOrError]]],
        again: Callable[[], Awaitable[Sequence[AnswerOrError]]],
        accounts: int,
        throttled: ThrottledTime,
        hold: Hold,
    ) -> Sequence[AnswerOrError]:
        async def attempt(call: Callable[[], Awaitable[Sequence[AnswerOrError]]]) -> Sequence[AnswerOrError]:
            answers = await self._circuit.attempt(call, throttled, hold)
            if accounts == 1 and isinstance(answers[0], GeminiError) and self._circuit.is_open():
                raise answers[0]  # so many answers are useless that the account need not be the cause
            return answers

        try:
            return await attempt(first)  # without tenacity, which takes a tenth of a call's CPU
        except GeminiError as error:
            backoff = Backoff(self._circuit, accounts, throttled, hold)
            try:
                return await backoff.retry(error, functools.partial(attempt, again))
            except _NoTurn:
                raise HoldEnded(f"calls were held for {hold.seconds:g} s: {error}") from None

    async def _call(
        self, prompt: Prompt, items: Sequence[EnrichedChange], stats: CallStats, hold: Hold | None = None
    ) -> Sequence[AnswerOrError]:
        """Make a call once the limit allows it. A hold bounds this wait.

        A first attempt has none: its turn comes, and while it waits its thread reads no more than the quota allows.
        """
        event = await self._turn(stats.throttled, hold)
        release = self._limiter.failed
        stats.calls += 1
        try:
            async with asyncio.timeout(self.settings.deadline_seconds):
                generation = await self._generate(GenerationRequest(prompt.text, len(items)))
            release = self._limiter.answered
        except TimeoutError:
            stats.failures[GeminiTimeout] += 1
            raise GeminiTimeout(f"no answer within {self.settings.deadline_seconds:g} s") from None
        except GeminiError as error:
            stats.failures[type(error)] += 1
            if isinstance(error, QuotaExhausted):
                release = functools.partial(self._limiter.refused, event)
            elif not isinstance(error, GeminiUnavailable):
                release = self._limiter.answered
            raise
        finally:
            release()
        stats.generations.append(generation)
        return _read(prompt, items, generation, stats)

    async def _turn(self, throttled: ThrottledTime, hold: Hold | None) -> int:
        try:
            async with asyncio.timeout(hold.seconds_left if hold else None):
                return await self._limiter.acquire(throttled)
        except TimeoutError:
            raise _NoTurn from None

    async def _generate(self, request: GenerationRequest) -> Generation:
        try:
            return await self._transport.generate(request)
        except Unauthenticated:
            await self._transport.refresh_credentials()
            return await self._transport.generate(request)


def _read(
    prompt: Prompt, items: Sequence[EnrichedChange], generation: Generation, stats: CallStats
) -> list[AnswerOrError]:
    """Return an answer or an error for each of a call's accounts, in their order."""
    try:
        checked = check_answers(generation.text, prompt.echoed_names, lambda one: shown_text(prompt.accounts[one]))
    except InvalidResponse as error:
        failure = OutputTruncated("the answer's JSON ends too early") if is_cut_off(generation.text) else error
        stats.failures[type(failure)] += 1
        raise failure from None
    answers: dict[int, AnswerOrError] = {}
    for index, (short_id, item) in enumerate(prompt.accounts.items()):
        answer = checked[short_id]
        if isinstance(answer, GeminiError):
            stats.failures[type(answer)] += 1
            answers[id(item)] = answer
        else:
            answers[id(item)] = Answered(answer.answer, generation, index, len(items), answer.flags)
    return [answers[id(item)] for item in items]


def is_cut_off(text: str) -> bool:
    """Whether a text is the beginning of a JSON document without its end."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return error.pos >= len(text)
    return False


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


class _LiveEngine:
    """This process's engine for some settings: a new one if the thread of the last one died."""

    def __init__(self) -> None:
        self._engine: ScoringEngine | None = None
        self._replacing = threading.Lock()

    def get(self, settings: GeminiSettings) -> ScoringEngine:
        with self._replacing:
            if self._engine is None or not self._engine.is_alive:
                self._engine = ScoringEngine(settings)
            return self._engine


@once_per_process
def _live_engine(_settings: GeminiSettings) -> _LiveEngine:
    return _LiveEngine()


def shared_engine(settings: GeminiSettings) -> ScoringEngine:
    """Return this process's engine for the settings: workers have a DoFn a thread, the DirectRunner one a bundle."""
    return _live_engine(settings).get(settings)


@functools.cache
def _freeze_loaded_objects() -> None:
    """Exempt the objects that the process has loaded from garbage collection, once.

    A full collection stops the event loop and so every call, for 0.1 s over the modules of a worker alone.
    """
    gc.collect()
    gc.freeze()
