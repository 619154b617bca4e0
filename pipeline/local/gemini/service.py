"""Answer calls of generateContent, without HTTP."""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import orjson

from pipeline.local.gemini.config import Fault, GeminiConfig
from pipeline.local.gemini.fault_kinds import FINISH_REASON, HTTP_STATUS, ITEM_FAULTS, FaultKind
from pipeline.local.gemini.faults import (
    affected_account,
    answer_text,
    choose_fault,
    corrupt_item,
    obey_instructions,
    other_model,
)
from pipeline.local.gemini.prefix_cache import PrefixCache
from pipeline.local.gemini.request import (
    GenerateRequest,
    GenerationConfig,
    InvalidRequestError,
    Prompt,
    accounts_in,
    cut_to_tokens,
    parse_request,
    prompt_of,
    tokens_in,
)
from pipeline.local.gemini.response_schema import SchemaRefusedError, check_answer, check_response_schema
from pipeline.local.gemini.responses import (
    candidate,
    error_body,
    model_not_found,
    response_body,
    usage,
)
from pipeline.local.gemini.scoring import score_account
from pipeline.local.gemini.seeded_random import uniform
from pipeline.local.gemini.stats import GeminiStats
from pipeline.local.gemini.tokens import Tokens

_NO_CONTENT: Final = {FaultKind.PROMPT_BLOCKED, FaultKind.NO_CANDIDATES, *FINISH_REASON}


@dataclass(frozen=True, slots=True)
class Target:
    """The model that a call's path names."""

    project: str
    location: str
    model: str

    @property
    def resource(self) -> str:
        """The model's resource name."""
        return f"projects/{self.project}/locations/{self.location}/publishers/google/models/{self.model}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to send after `delay_seconds`; the fault may be one of its transmission."""

    status: int
    body: bytes
    delay_seconds: float = 0.0
    retry_after_seconds: int | None = None
    fault: FaultKind | None = None


@dataclass(frozen=True, slots=True)
class _ValidCall:
    """A valid call, with the scores of its accounts."""

    number: int
    target: Target
    prompt: Prompt
    accounts: list[Mapping[str, Any]]
    generation: GenerationConfig
    scores: list[dict[str, Any]]
    cached_tokens: int


class GeminiService:
    """State between calls: configuration, counts, granted tokens, seen prefixes, used faults.

    Not thread-safe: one event loop calls it. `now` returns the time in UTC.
    """

    def __init__(self, config: GeminiConfig, now: Callable[[], dt.datetime]) -> None:
        self.config = config
        self.tokens = Tokens(lambda: now().timestamp())
        self.counts = GeminiStats()
        self._now = now
        self._prefixes = PrefixCache()
        self._used = [0] * len(config.faults)

    def configure(self, changes: Mapping[str, Any]) -> GeminiConfig:
        """Replace fields of the configuration, and return it; new faults start unused.

        Raises:
            pydantic.ValidationError: A field is unknown or its value is not allowed; nothing is changed.
        """
        self.config = GeminiConfig.model_validate({**dict(self.config), **changes})
        if "faults" in changes:
            self._used = [0] * len(self.config.faults)
        return self.config

    def reset(self) -> None:
        """Reset counts, call numbers, prefixes and used faults; configuration and tokens stay."""
        self.counts = self.counts.restarted()
        self._prefixes.clear()
        self._used = [0] * len(self.config.faults)

    def stats(self) -> GeminiStats:
        """Return the counts."""
        return self.counts.snapshot()

    def answer(self, target: Target, authorization: str, body: bytes, number: int) -> Answer:
        """Return the answer to a call of generateContent; `number` comes from `counts.arrive()`."""
        if (refused := self._refused(target, authorization)) is not None:
            return refused
        cap = self.config.max_concurrency
        if cap is not None and self.counts.in_flight > cap:
            return self._error(429)
        try:
            call = self._validate(parse_request(body), target, number)
        except (InvalidRequestError, SchemaRefusedError) as error:
            return self._error(400, str(error))
        return self._answer_with(self._choose_fault(call), call)

    def _refused(self, target: Target, authorization: str) -> Answer | None:
        if self.config.require_token and not self.tokens.accept(authorization):
            return self._error(401)
        if not model_exists(self.config, target.model):
            return self._error(404, model_not_found(target.resource))
        return None

    def _error(self, code: int, message: str | None = None, fault: FaultKind | None = None) -> Answer:
        retry_after = self.config.retry_after_seconds if code == _TOO_MANY else None
        return Answer(code, orjson.dumps(error_body(code, message)), retry_after_seconds=retry_after, fault=fault)

    def _validate(self, request: GenerateRequest, target: Target, number: int) -> _ValidCall:
        generation = request.generation_config
        prompt = prompt_of(request)
        most = self.config.max_prompt_tokens
        if prompt.tokens > most:
            raise InvalidRequestError(
                f"The input token count ({prompt.tokens}) exceeds the maximum number of tokens allowed ({most})."
            )
        if (generation.max_output_tokens or 1) > self.config.max_output_tokens:
            raise InvalidRequestError(
                "Unable to submit request because it has a maxOutputTokens value beyond the supported range from 1 "
                f"(inclusive) to {self.config.max_output_tokens + 1} (exclusive)."
            )
        accounts = accounts_in(prompt.user)
        scores = [score_account(account) for account in accounts]
        if (schema := generation.response_json_schema) is not None:
            check_response_schema(schema)
            check_answer({"scores": scores}, schema)
        seen = self._prefixes.seen_tokens(f"{target.model}\n{prompt.system}\n{prompt.user}")
        cached = min(seen, prompt.tokens) if seen >= self.config.cache_min_tokens else 0
        return _ValidCall(number, target, prompt, accounts, generation, scores, cached)

    def _choose_fault(self, call: _ValidCall) -> Fault | None:
        if not self.config.faults:
            return None
        text = f"{call.prompt.system}\n{call.prompt.user}"
        if any(fault.match for fault in self.config.faults):
            # The prompt may escape characters; the parsed accounts hold the names verbatim.
            text += json.dumps(call.accounts, ensure_ascii=False)
        index = choose_fault(
            self.config.faults,
            self._used,
            seed=self.config.seed,
            call=call.number,
            prompt=text,
            accounts=len(call.accounts),
        )
        if index is None:
            return None
        self._used[index] += 1
        return self.config.faults[index]

    def _answer_with(self, fault: Fault | None, call: _ValidCall) -> Answer:
        kind = fault.kind if fault else None
        if kind is not None and (code := HTTP_STATUS.get(kind)) is not None:
            message = model_not_found(call.target.resource) if code == _NOT_FOUND else None
            return self._error(code, message, kind)
        text, finish_reason = self._text(fault, call)
        output_tokens = 0 if text is None else tokens_in(text)
        model = call.target.model
        body = response_body(
            candidates=_candidates(kind, text, finish_reason),
            usage_metadata=usage(call.prompt.tokens, output_tokens, call.cached_tokens),
            model_version=other_model(model) if kind is FaultKind.OTHER_MODEL_VERSION else model,
            response_id=f"local-{self.config.seed}-{call.number}",
            created=self._now(),
            block_reason="PROHIBITED_CONTENT" if kind is FaultKind.PROMPT_BLOCKED else None,
        )
        delay = self.config.latency.answer_seconds(output_tokens, uniform(self.config.seed, "latency", call.number))
        self.counts.accounts += len(call.accounts)
        self.counts.prompt_tokens += call.prompt.tokens
        self.counts.output_tokens += output_tokens
        self.counts.cached_tokens += call.cached_tokens
        self.counts.latency_seconds_sum += delay
        return Answer(200, orjson.dumps(body), delay, fault=kind)

    def _text(self, fault: Fault | None, call: _ValidCall) -> tuple[str | None, str]:
        """Return the text and the finishReason."""
        kind = fault.kind if fault else None
        if kind in _NO_CONTENT:
            return None, FINISH_REASON.get(kind, "STOP")
        scores = call.scores
        if kind in (FaultKind.OBEYS_INSTRUCTIONS, FaultKind.OBEYS_FOR_ALL):
            obey_instructions(scores, call.accounts, for_all=kind is FaultKind.OBEYS_FOR_ALL)
        if fault is not None and kind in ITEM_FAULTS:
            chance = uniform(self.config.seed, "victim", call.number)
            corrupt_item(fault.kind, scores, affected_account(fault, call.accounts, chance))
        text, finish_reason = answer_text({"scores": scores}, kind)
        if call.generation.response_json_schema is None and call.generation.response_mime_type != "application/json":
            text = f"Here are the scores of {len(call.accounts)} accounts.\n\n```json\n{text}\n```\n"
        most = call.generation.max_output_tokens or self.config.max_output_tokens
        if tokens_in(text) > most:
            return cut_to_tokens(text, most), "MAX_TOKENS"
        return text, finish_reason


_TOO_MANY: Final = 429
_NOT_FOUND: Final = 404


def model_exists(config: GeminiConfig, model: str) -> bool:
    """Whether a model of this name exists and is not retired."""
    retired = any(fnmatchcase(model, pattern) for pattern in config.retired_models)
    return not retired and any(fnmatchcase(model, pattern) for pattern in config.models)


def _candidates(kind: FaultKind | None, text: str | None, finish_reason: str) -> list[dict[str, Any]] | None:
    if kind is FaultKind.PROMPT_BLOCKED:
        return None
    return [] if kind is FaultKind.NO_CANDIDATES else [candidate(text, finish_reason)]
