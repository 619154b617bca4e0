"""Peer: a subscriber's loop that scores each account as its event arrives."""

from collections.abc import Sequence

from google import genai

from schemas.account_context import EnrichedChange
from tests.benchmarks.scoring.task import LOCATION, MODEL, PROJECT, config, is_valid, prompt_of


def score(accounts: Sequence[EnrichedChange]) -> int:
    """Score accounts one after the other, and return how many have a valid score."""
    client = genai.Client(vertexai=True, project=PROJECT, location=LOCATION)
    scored = 0
    for item in accounts:
        response = client.models.generate_content(model=MODEL, contents=prompt_of(item), config=config())
        scored += is_valid(response.text)
    return scored
