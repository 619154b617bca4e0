"""The scoring engine: many calls in flight on one event loop a process, every account settled before a batch returns.

    settle (call_plan)        what is asked again, halved, or given up
      ask                     one call, for as long as it takes: retries, held while the circuit is open
        attempt (gemini_circuit)     not at all while Gemini fails as a whole, but for one probe at a time
          call                a slot of the adaptive limit, a deadline, the transport, the answers checked

Threads hand batches over and wait; all else happens on the event loop.
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
from transforms.errors import (
    GeminiError,
    GeminiRefusedPrompt,
    GeminiTimeout,
    GeminiUnavailable,
    InvalidResponse,
    OutputTruncated,
    QuotaExhausted,
    Unauthenticated,
)
from transforms.prompt.prompt import Prompt, render_prompt
from transforms.score.adaptive_limit import AdaptiveLimit, CallSlots
from transforms.score.answers import check_answers
from transforms.score.backoff import Backoff
from transforms.score.call_plan import settle
from transforms.score.gemini_circuit import GeminiCircuit
from transforms.score.throttling import ThrottledTime

CHARACTERS_PER_TOKEN: Final = 4
"""A rough estimate for English text and JSON; it need not be exact, for Gemini's own limit is far above ours."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An account's answer, and the call that brought it: the account's place in it decides on its share of the cost."""

    answer: ScoreAnswer
    generation: Generation
    place: int
    accounts: int


Verdict = Answered | GeminiError


@dataclass
class Tally:
    """What a batch cost, added up on the event loop; Beam drops what is not counted on the thread of `process`."""

    calls: int = 0
    generations: list[Generation] = field(default_factory=list)
    failures: Counter[type[GeminiError]] = field(default_factory=Counter)
    """Failed calls, and entries that could not be taken."""
    throttled: ThrottledTime = field(default_factory=ThrottledTime)


class ScoringEngine:
    """One event loop, one transport, one adaptive limit and one circuit, for all the threads of a process."""

    def __init__(self, settings: GeminiSettings, transport: Transport | None = None) -> None:
        """Start the event loop. No connection is opened yet."""
        _spare_the_collector()
        self.settings = settings
        self._transport = transport or RestTransport(settings)
        self._slots = CallSlots(AdaptiveLimit(ceiling=settings.max_calls_in_flight))
        self._circuit = GeminiCircuit(settings.circuit, self._tells_of_an_outage)
        self._loop = uvloop.new_event_loop()
        # A daemon: the process may end without asking, and what was in flight is redelivered.
        threading.Thread(target=self._loop.run_forever, name="gemini", daemon=True).start()

    def submit(self, calls: Sequence[Sequence[EnrichedChange]], tally: Tally) -> "Future[list[list[Verdict]]]":
        """Start to score the accounts of some calls, and return the future of a verdict for each account, in order.

        The future has an exception only for a fault of this program; all calls have ended then as well.
        """
        return asyncio.run_coroutine_threadsafe(self._score(calls, tally), self._loop)

    @property
    def is_held(self) -> bool:
        """Whether the circuit is open."""
        return self._circuit.is_open()

    def close(self) -> None:
        """End the connections and the event loop; no batch may be under way."""
        asyncio.run_coroutine_threadsafe(self._transport.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _tells_of_an_outage(self, error: GeminiError) -> bool:
        """A 429 does once there is a single call at a time: before that, slowing down is what helps."""
        return not isinstance(error, QuotaExhausted) or self._slots.limit.is_at_floor

    async def _score(self, calls: Sequence[Sequence[EnrichedChange]], tally: Tally) -> list[list[Verdict]]:
        async def ask(items: Sequence[EnrichedChange]) -> Sequence[Verdict]:
            return await self._ask(items, tally)

        async with asyncio.TaskGroup() as group:  # if one has an exception, the others end before it is raised
            tasks = [group.create_task(settle(items, ask)) for items in calls]
        return [task.result() for task in tasks]

    async def _ask(self, items: Sequence[EnrichedChange], tally: Tally) -> Sequence[Verdict]:
        """Make one call, held and retried as long as it is Gemini as a whole that fails."""
        prompt = render_prompt(items)
        if estimated_tokens(prompt.text) > self.settings.max_prompt_tokens:
            raise GeminiRefusedPrompt(f"the prompt is over --max_prompt_tokens={self.settings.max_prompt_tokens}")
        call = functools.partial(self._call, prompt, items, tally)
        seconds = self.settings.outage_deadline_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._persist(call, len(items), tally.throttled)
        except TimeoutError:
            raise GeminiUnavailable(f"Gemini was unavailable for {seconds:g} s") from None

    async def _persist(
        self, call: Callable[[], Awaitable[Sequence[Verdict]]], accounts: int, throttled: ThrottledTime
    ) -> Sequence[Verdict]:
        async def attempt() -> Sequence[Verdict]:
            verdicts = await self._circuit.attempt(call, throttled)
            if accounts == 1 and isinstance(verdicts[0], GeminiError) and self._circuit.is_open():
                raise verdicts[0]  # one of so many useless answers that it proves nothing against the account
            return verdicts

        try:
            return await attempt()  # tenacity's machinery is for the calls that fail: it takes a tenth of a call's CPU
        except GeminiError as error:
            backoff = Backoff(self._circuit, accounts, throttled)
            return await backoff.retrying(error, attempt)

    async def _call(self, prompt: Prompt, items: Sequence[EnrichedChange], tally: Tally) -> Sequence[Verdict]:
        event = await self._slots.take(tally.throttled)
        give_back = self._slots.failed
        tally.calls += 1
        try:
            async with asyncio.timeout(self.settings.deadline_seconds):
                generation = await self._generate(GenerationRequest(prompt.text, len(items)))
            give_back = self._slots.answered
        except TimeoutError:
            tally.failures[GeminiTimeout] += 1
            raise GeminiTimeout(f"no answer within {self.settings.deadline_seconds:g} s") from None
        except GeminiError as error:
            tally.failures[type(error)] += 1
            if isinstance(error, QuotaExhausted):
                give_back = functools.partial(self._slots.refused, event)
            elif not isinstance(error, GeminiUnavailable):
                give_back = self._slots.answered
            raise
        finally:
            give_back()
        tally.generations.append(generation)
        return _read(prompt, items, generation, tally)

    async def _generate(self, request: GenerationRequest) -> Generation:
        try:
            return await self._transport.generate(request)
        except Unauthenticated:
            await self._transport.refresh_credentials()
            return await self._transport.generate(request)


def _read(prompt: Prompt, items: Sequence[EnrichedChange], generation: Generation, tally: Tally) -> list[Verdict]:
    """Return a verdict for each of a call's accounts, in their order."""
    try:
        answers = check_answers(generation.text, prompt.echoed_names)
    except InvalidResponse as error:
        failure = OutputTruncated("the answer's JSON ends too early") if is_cut_off(generation.text) else error
        tally.failures[type(failure)] += 1
        raise failure from None
    verdicts: dict[int, Verdict] = {}
    for place, (short_id, item) in enumerate(prompt.accounts.items()):
        answer = answers[short_id]
        if isinstance(answer, GeminiError):
            tally.failures[type(answer)] += 1
            verdicts[id(item)] = answer
        else:
            verdicts[id(item)] = Answered(answer, generation, place, len(items))
    return [verdicts[id(item)] for item in items]


def is_cut_off(text: str) -> bool:
    """Whether a text is the beginning of JSON, and lacks its end."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return error.pos >= len(text)
    return False


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


_starting = threading.Lock()


def shared_engine(settings: GeminiSettings) -> ScoringEngine:
    """Return this process's engine for the settings: workers have a DoFn a thread, the DirectRunner one a bundle."""
    with _starting:
        return _engine(settings)


@functools.cache
def _engine(settings: GeminiSettings) -> ScoringEngine:
    return ScoringEngine(settings)


@functools.cache
def _spare_the_collector() -> None:
    """Have the garbage collector look no more at what a process has loaded, once.

    A full collection stops the event loop, and so every call: for 0.1 s over the modules of a worker alone.
    """
    gc.collect()
    gc.freeze()
