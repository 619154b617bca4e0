import pytest
from google import genai
from google.genai import errors, types

from pipeline.local.gemini import GeminiStandIn
from schemas.score import ScoreAnswers
from tests.integration.gemini.client import TRIO, ask, config_with, generate, scores_of, with_client
from tests.unit.pipeline.local.gemini.samples import MODEL, account, email

pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
]


def test_structured_output_parses_into_our_answers(stand_in: GeminiStandIn) -> None:
    """The text is a valid ScoreAnswers with an entry for each account."""
    response = ask()
    answers = ScoreAnswers.model_validate_json(response.text or "")
    assert [answer.id for answer in answers.scores] == ["id0", "id1", "id2"]
    assert [answer.account_name for answer in answers.scores] == ["Account 0", "Account 1", "Account 2"]
    assert response.parsed is not None


def test_a_long_prompt_arrives_whole(stand_in: GeminiStandIn) -> None:
    """A prompt of half a megabyte, which comes in many pieces, is read to its end."""
    long = [account(f"Account {index}", f"i{index}", emails=[email("x" * 100_000)]) for index in range(5)]
    assert [item["id"] for item in scores_of(ask(long))] == ["i0", "i1", "i2", "i3", "i4"]
    assert stand_in.stats().prompt_tokens > 125_000


def test_the_answer_tells_model_usage_and_reason(stand_in: GeminiStandIn) -> None:
    """The SDK finds modelVersion, usageMetadata, createTime, responseId and finishReason."""
    response = ask()
    usage = response.usage_metadata
    assert usage is not None
    assert (response.model_version, response.response_id) == (MODEL, "local-0-1")
    assert response.create_time is not None
    assert response.candidates is not None
    assert response.candidates[0].finish_reason is types.FinishReason.STOP
    assert usage.traffic_type is types.TrafficType.ON_DEMAND
    assert usage.prompt_token_count == stand_in.stats().prompt_tokens
    assert usage.candidates_token_count == stand_in.stats().output_tokens


def test_both_api_versions_are_served(stand_in: GeminiStandIn) -> None:
    """The SDK's default and v1 get the same scores."""
    default = ask()
    v1 = with_client(lambda client: generate(client, TRIO), version="v1")
    assert default.text == v1.text
    assert stand_in.stats().calls == 2


@pytest.mark.usefixtures("stand_in")
def test_a_retired_model_is_not_found() -> None:
    """The client raises ClientError 404 NOT_FOUND."""

    async def ask(client: genai.Client) -> None:
        await client.aio.models.generate_content(model="gemini-2.0-flash", contents="Hello")

    with pytest.raises(errors.ClientError) as raised:
        with_client(ask)
    assert (raised.value.code, raised.value.status) == (404, "NOT_FOUND")


@pytest.mark.usefixtures("stand_in")
def test_an_unsupported_schema_is_an_invalid_argument() -> None:
    """The client raises ClientError 400 with the keyword."""
    with pytest.raises(errors.ClientError, match="exclusiveMinimum") as raised:
        ask(config=config_with(response_json_schema={"type": "integer", "exclusiveMinimum": 1}))
    assert (raised.value.code, raised.value.status) == (400, "INVALID_ARGUMENT")


@pytest.mark.usefixtures("stand_in")
def test_max_output_tokens_cut_the_answer() -> None:
    """The client sees MAX_TOKENS, text that is not JSON, and parsed as None."""
    response = ask(config=config_with(max_output_tokens=40))
    assert response.candidates is not None
    assert response.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS
    assert response.parsed is None


@pytest.mark.usefixtures("stand_in")
def test_a_common_prefix_is_reported_as_cached() -> None:
    """The second call with the same long system instruction names its cached tokens."""
    config = config_with(system_instruction="You score accounts. " * 300)
    first, second = (ask([one], config).usage_metadata for one in TRIO[:2])
    assert first is not None
    assert second is not None
    assert first.cached_content_token_count is None
    assert (second.cached_content_token_count or 0) >= 1_024
