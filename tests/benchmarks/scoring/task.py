"""The task for the other tools: a prompt for an account, and a check of the response."""

import functools
from typing import Final

from google.genai import types
from pydantic import ValidationError

from pipeline.local.stack import PROJECT
from schemas.account_context import EnrichedChange
from schemas.score import ScoreAnswers
from transforms.clients.gemini_api import OUTPUT_TOKENS_PER_ACCOUNT
from transforms.prompt.prompt import load_instruction, render_prompt, response_schema

MODEL: Final = "gemini-3.5-flash-lite"
LOCATION: Final = "global"
__all__ = ["LOCATION", "MODEL", "PROJECT", "config", "is_valid", "prompt_of"]


def prompt_of(item: EnrichedChange) -> str:
    """Return the prompt for one account, the same text that our engine sends."""
    return render_prompt([item]).text


@functools.cache
def config() -> types.GenerateContentConfig:
    """Return the configuration for google-genai."""
    return types.GenerateContentConfig(
        system_instruction=load_instruction("v1"),
        response_mime_type="application/json",
        response_json_schema=response_schema(ScoreAnswers),
        max_output_tokens=OUTPUT_TOKENS_PER_ACCOUNT,
    )


def is_valid(text: str | None) -> bool:
    """Whether a response has one valid answer."""
    try:
        return len(ScoreAnswers.model_validate_json(text or "").scores) == 1
    except ValidationError:
        return False
