"""Check of Gemini: one call as the pipeline makes it, about an account that does not exist."""

import asyncio
import datetime as dt
from typing import Final

import google.auth.exceptions

from pipeline.doctor.advice import Advice
from pipeline.doctor.check import Check, Finding, Status
from pipeline.resources.services import GeminiUnreachable, check_gemini, check_token
from schemas.account_context import AccountContext, AccountProfile, EnrichedChange
from schemas.change_event import ACCOUNT_ENTITY, AccountChange, ChangeType, SourceMessage
from schemas.salesforce_ids import normalize_account_id
from transforms.clients.gemini import RestTransport
from transforms.clients.gemini_api import GeminiSettings, Generation, GenerationRequest
from transforms.errors import AnswerError, ConnectionLost, GeminiTimeout
from transforms.prompt.prompt import Prompt, render_prompt
from transforms.score.answers import check_answers

CALL_SECONDS: Final = 18.0
DEADLINE_SECONDS: Final = 20.0
"""Longer than for other checks; the pipeline itself waits longer."""

_ACCOUNT_ID: Final = normalize_account_id("001DOCTOR000000")
_WHEN: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def model_check(settings: GeminiSettings) -> Check:
    """Return the check of the model; it makes one call, which costs about 5,000 tokens."""
    advice = Advice(
        "Gemini",
        "aiplatform.googleapis.com",
        settings.project,
        refused=(
            "grant these credentials the role accountRescoringGeminiCaller (aiplatform.endpoints.predict): "
            "infrastructure/bootstrap"
        ),
        missing=f"check --model {settings.model} and --location {settings.location}: some locations lack some models",
        malformed=f"check --model {settings.model}: the prompt is the pipeline's own, so the model does not support it",
    )
    return Check(f"model {settings.model}", lambda: ask(settings), advice, DEADLINE_SECONDS)


def ask(settings: GeminiSettings) -> Finding:
    """Have the model score one account; return the time and tokens used.

    Raises:
        GeminiError: The call failed, or its answer has no valid score.
        TransportError: The token endpoint does not answer.
    """
    try:
        check_token()  # what is silent is known long before a call's deadline
        check_gemini(settings)
    except GeminiUnreachable as error:
        raise ConnectionLost(f"the connection to Gemini failed ({type(error.__cause__).__name__})") from None
    except google.auth.exceptions.TransportError:
        raise
    except google.auth.exceptions.GoogleAuthError:
        pass  # the call says which
    prompt = render_prompt([tiny_account()])
    generation = asyncio.run(_generate(settings, prompt))
    (answer,) = check_answers(generation.text, prompt.echoed_names).values()
    if isinstance(answer, AnswerError):
        raise answer
    tokens = f"{generation.prompt_tokens:,} tokens in, {generation.output_tokens:,} out"
    return Finding(Status.OK, f"scored an account in {generation.latency_seconds:.1f} s, {tokens}")


def tiny_account() -> EnrichedChange:
    """Return a made-up account with a minimal context."""
    change = AccountChange(
        event_id=f"{0:032x}",
        account_id=_ACCOUNT_ID,
        entity_name=ACCOUNT_ENTITY,
        record_id=_ACCOUNT_ID,
        change_type=ChangeType.CREATE,
        committed_at=_WHEN,
        sequence_number=1,
        transaction_key="doctor",
        trace_id=f"{0:032x}",
        source=SourceMessage(payload=b""),
    )
    profile = AccountProfile(account_id=_ACCOUNT_ID, name="Check-up", industry="Technology", modified_at=_WHEN)
    return EnrichedChange(change=change, context=AccountContext(profile=profile))


async def _generate(settings: GeminiSettings, prompt: Prompt) -> Generation:
    transport = RestTransport(settings)
    try:
        return await asyncio.wait_for(
            transport.generate(GenerationRequest(prompt.text, len(prompt.accounts))), CALL_SECONDS
        )
    except TimeoutError:
        raise GeminiTimeout(f"Gemini did not answer within {CALL_SECONDS:g} s") from None
    finally:
        await transport.close()
