"""Parse the body of a `generateContent` request, and the accounts in its prompt."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

_CHARS_A_TOKEN: Final = 4
_JSON_TYPE: Final = "application/json"


class InvalidRequestError(ValueError):
    """The body is not a valid request. The message is that of Gemini's 400; it never quotes a value of the body."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class Part(_Message):
    """A text. The stand-in does not support images or function calls."""

    text: str


class Content(_Message):
    """The parts of a turn, or of the system instruction."""

    role: str = "user"
    parts: list[Part] = Field(min_length=1)


class Turn(Content):
    """A turn of the conversation."""

    role: Literal["user", "model"] = "user"


class GenerationConfig(_Message):
    """How to answer. Fields that only shape real text are accepted and ignored."""

    max_output_tokens: int | None = Field(default=None, ge=1)
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: float | None = None
    candidate_count: int | None = Field(default=None, ge=1, le=1)
    stop_sequences: list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    audio_timestamp: bool | None = None
    media_resolution: str | None = None
    response_modalities: list[str] | None = None
    routing_config: dict[str, Any] | None = None
    speech_config: dict[str, Any] | None = None
    thinking_config: dict[str, Any] | None = None


class GenerateRequest(_Message):
    """The body of `generateContent`."""

    contents: list[Turn] = Field(min_length=1)
    system_instruction: Content | None = None
    generation_config: GenerationConfig = GenerationConfig()
    tools: list[Any] | None = None
    tool_config: dict[str, Any] | None = None
    safety_settings: list[Any] | None = None
    labels: dict[str, str] | None = None
    cached_content: str | None = None
    model_armor_config: dict[str, Any] | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """The texts of a request."""

    system: str
    user: str

    @property
    def tokens(self) -> int:
        """Estimated length in tokens."""
        return tokens_in(self.system) + tokens_in(self.user)


def parse_request(body: bytes) -> GenerateRequest:
    """Return the request.

    Raises:
        InvalidRequestError: The body is not JSON, has an unknown field, or a value that is not allowed.
    """
    try:
        request = GenerateRequest.model_validate_json(body)
    except ValidationError as error:
        # Without the cause, which holds the input: it may be the prompt's text.
        raise InvalidRequestError(_refusal(error)) from None
    config = request.generation_config
    if config.response_schema is not None:
        raise InvalidRequestError("This stand-in does not implement response_schema: send response_json_schema.")
    if config.response_json_schema is not None and config.response_mime_type != _JSON_TYPE:
        raise InvalidRequestError(f"A response schema needs response_mime_type: {_JSON_TYPE}.")
    return request


def _refusal(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])[:80]
        return f"Invalid JSON payload received. Unknown name \"{name}\" at '{place[:200]}': Cannot find field."
    return f"Invalid value at '{place[:200]}': {first['msg']}"


def prompt_of(request: GenerateRequest) -> Prompt:
    """Return the texts of a request, its parts joined by line breaks."""
    system = request.system_instruction.parts if request.system_instruction else []
    return Prompt(
        system="\n".join(part.text for part in system),
        user="\n".join(part.text for turn in request.contents for part in turn.parts),
    )


def tokens_in(text: str) -> int:
    """Return the estimated length of a text in tokens of four characters each."""
    return -(-len(text) // _CHARS_A_TOKEN)


def cut_to_tokens(text: str, tokens: int) -> str:
    """Return the start of a text, that many estimated tokens long."""
    return text[: tokens * _CHARS_A_TOKEN]


def accounts_in(text: str) -> list[Mapping[str, Any]]:
    """Return the accounts of the first fenced block that is a JSON array; empty if none is.

    A fence counts only at the start of a line. Text inside JSON cannot stand there: its line breaks are escaped.
    """
    for block in _fenced_blocks(text):
        try:
            accounts = orjson.loads(block)
        except orjson.JSONDecodeError:
            continue  # like a model, which goes on to the next block
        if isinstance(accounts, list):
            return [account for account in accounts if isinstance(account, dict)]
    return []


def _fenced_blocks(text: str) -> Iterator[str]:
    segments = ("\n" + text.replace("\r\n", "\n")).split("\n```")
    # Each inner segment lies between two fences; the last one has no closing fence.
    for segment in segments[1:-1]:
        if segment.startswith("json\n"):
            yield segment.removeprefix("json\n")
