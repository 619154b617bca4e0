"""The body of a call: valid JSON for any prompt, with the fixed part of the settings."""

import json

from hypothesis import given
from hypothesis import strategies as st

from transforms.clients.gemini import RequestBody
from transforms.clients.gemini_api import OUTPUT_TOKENS_PER_ACCOUNT, GeminiSettings, GenerationRequest, fixed_part

SETTINGS = GeminiSettings(project="p-123456")
BODY = RequestBody(SETTINGS)


@given(st.text(), st.integers(1, 40))
def test_any_prompt_is_sent_unchanged(text: str, accounts: int) -> None:
    """The body is JSON with the prompt, and has output tokens for each account."""
    body = json.loads(BODY.of(GenerationRequest(text, accounts)))
    assert body["contents"] == [{"role": "user", "parts": [{"text": text}]}]
    assert body["generationConfig"]["maxOutputTokens"] == OUTPUT_TOKENS_PER_ACCOUNT * accounts
    assert body["systemInstruction"] == fixed_part(SETTINGS)["systemInstruction"]


def test_a_lone_surrogate_is_replaced() -> None:
    """JSON in UTF-8 can't represent it."""
    body = json.loads(BODY.of(GenerationRequest("Gr\ud83d\u00fc\u00dfe", 1)))
    assert body["contents"][0]["parts"][0]["text"] == "Gr?üße"
