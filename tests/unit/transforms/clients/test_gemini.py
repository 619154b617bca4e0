"""The body of a call over REST: JSON whatever the prompt holds, with the fixed part of the settings."""

import json

from hypothesis import given
from hypothesis import strategies as st

from transforms.clients.gemini import RequestBody
from transforms.clients.gemini_api import OUTPUT_TOKENS_PER_ACCOUNT, GeminiSettings, GenerationRequest, fixed_part

SETTINGS = GeminiSettings(project="p-123456")
BODY = RequestBody(SETTINGS)


@given(st.text(), st.integers(1, 40))
def test_any_prompt_arrives_as_it_is(text: str, accounts: int) -> None:
    """The body is JSON with the prompt in it, and room for an answer for each account."""
    body = json.loads(BODY.of(GenerationRequest(text, accounts)))
    assert body["contents"] == [{"role": "user", "parts": [{"text": text}]}]
    assert body["generationConfig"]["maxOutputTokens"] == OUTPUT_TOKENS_PER_ACCOUNT * accounts
    assert body["systemInstruction"] == fixed_part(SETTINGS)["systemInstruction"]


def test_half_a_surrogate_pair_does_not_stop_a_call() -> None:
    """What no JSON can hold is replaced."""
    body = json.loads(BODY.of(GenerationRequest("Gr\ud83d\u00fc\u00dfe", 1)))
    assert body["contents"][0]["parts"][0]["text"] == "Gr?üße"
