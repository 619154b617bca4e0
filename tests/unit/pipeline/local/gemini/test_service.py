import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.local.gemini.config import Fault, GeminiConfig
from pipeline.local.gemini.fault_kinds import FaultKind
from pipeline.local.gemini.service import GeminiService, Target, model_exists
from tests.fixtures.examples import examples
from tests.unit.pipeline.local.gemini.calls import (
    NOW,
    PAIR,
    TARGET,
    ask,
    body_of,
    new_service,
    scores_by_id,
    scores_of,
    text_of,
)
from tests.unit.pipeline.local.gemini.samples import (
    MODEL,
    account,
    accounts_of_any_kind,
    random_account,
    request_body,
)


def test_an_answer_has_the_shape_of_vertex() -> None:
    """Candidate, usage, model, time and id are where Vertex AI puts them."""
    body = body_of(ask(new_service()))
    candidate = body["candidates"][0]
    usage = body["usageMetadata"]
    assert (candidate["content"]["role"], candidate["finishReason"]) == ("model", "STOP")
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]
    assert usage["trafficType"] == "ON_DEMAND"
    assert body["modelVersion"] == MODEL
    assert body["createTime"] == "2026-11-20T12:00:00.000000Z"
    assert body["responseId"] == "local-0-1"


@examples(ordinary=30, slow=500)
@given(st.lists(accounts_of_any_kind, min_size=1, max_size=4, unique_by=lambda one: str(one["id"])), st.randoms())
def test_a_score_depends_on_nothing_but_its_account(accounts: list[dict[str, Any]], rng: Any) -> None:
    """In another order, or alone, an account gets the same answer as among its neighbours."""
    service = new_service()
    together = scores_by_id(service, accounts)
    shuffled = list(accounts)
    rng.shuffle(shuffled)
    assert scores_by_id(service, shuffled) == together
    alone: dict[str, dict[str, Any]] = {}
    for one in accounts:
        alone |= scores_by_id(service, [one])
    assert alone == together


def test_the_same_calls_get_the_same_answers_again() -> None:
    """With a seed, latency, faults and scores repeat exactly."""
    faults = (Fault(kind=FaultKind.HTTP_503, rate=0.3), Fault(kind=FaultKind.ITEM_MISSING, rate=0.3))
    latency = {"mean_seconds": 1, "p95_seconds": 2}
    first, second = (
        [ask(service) for _ in range(30)]
        for service in (new_service(seed=3, faults=faults, latency=latency) for _ in range(2))
    )
    assert first == second
    assert len({answer.delay_seconds for answer in first}) > 10


def test_without_a_token_nothing_is_answered() -> None:
    """A call without a bearer token of this server gets Google's 401."""
    service = GeminiService(GeminiConfig(), lambda: NOW)
    for authorization in ("Bearer made-up", ""):
        answer = service.answer(TARGET, authorization, request_body(PAIR), service.counts.arrive())
        assert answer.status == 401
        assert body_of(answer)["error"]["status"] == "UNAUTHENTICATED"


@pytest.mark.parametrize("model", ["gemini-1.5-pro", "gemini-2.0-flash-lite", "text-bison", "gpt"])
def test_a_model_that_is_gone_is_not_found(model: str) -> None:
    """Retired and unknown names get Google's 404, which names the resource."""
    answer = ask(new_service(), target=Target("local-project", "global", model))
    error = body_of(answer)["error"]
    assert (answer.status, error["code"], error["status"]) == (404, 404, "NOT_FOUND")
    assert f"models/{model}`" in error["message"]


def test_the_known_models_can_be_told() -> None:
    """Only names that match the list, and none that match the retired ones, exist."""
    config = GeminiConfig(models=("gemini-3*",), retired_models=("gemini-3.1-*",))
    names = ("gemini-3.8-flash", "gemini-3.1-flash-lite", "gemini-2.5-pro")
    assert [model_exists(config, name) for name in names] == [True, False, False]


def test_beyond_the_cap_calls_are_turned_away_at_once() -> None:
    """With a cap of one, a second call in flight gets 429 and Retry-After; a call after it is answered."""
    service = new_service(max_concurrency=1, retry_after_seconds=7)
    first = service.counts.arrive()
    turned_away = ask(service)
    assert (turned_away.status, turned_away.retry_after_seconds, turned_away.delay_seconds) == (429, 7, 0)
    assert body_of(turned_away)["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert service.answer(TARGET, "", request_body(PAIR), first).status == 200


def test_a_cap_of_zero_is_a_quota_of_zero() -> None:
    """Every call gets 429, until the cap is changed while running."""
    service = new_service(max_concurrency=0)
    assert [ask(service).status for _ in range(3)] == [429] * 3
    service.configure({"max_concurrency": None})
    assert ask(service).status == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "Invalid JSON"),
        (request_body(PAIR, responseJsonSchema={"const": 1}), "'const' was unexpected"),
        (request_body(PAIR, responseJsonSchema={"type": "array"}), "does not fit the response schema"),
        (request_body(PAIR, maxOutputTokens=70_000), "maxOutputTokens"),
        (request_body([account("x" * 500)]), "exceeds the maximum number of tokens allowed (100)"),
    ],
)
def test_what_gemini_refuses_is_an_invalid_argument(body: bytes, said: str) -> None:
    """Broken bodies, unsupported schemas and prompts beyond the limit get 400 and a reason."""
    answer = ask(new_service(max_prompt_tokens=100), body)
    error = body_of(answer)["error"]
    assert (answer.status, error["status"]) == (400, "INVALID_ARGUMENT")
    assert said in error["message"]


def test_an_answer_beyond_max_output_tokens_is_cut() -> None:
    """The limit of maxOutputTokens ends the text in the middle of the JSON, and says so."""
    answer = ask(new_service(), request_body(PAIR, maxOutputTokens=50))
    body = body_of(answer)
    assert body["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert body["usageMetadata"]["candidatesTokenCount"] == 50
    assert len(text_of(answer)) == 200


def test_without_a_schema_the_answer_is_prose_with_json_in_a_fence() -> None:
    """Without a schema the JSON is in a fence; the JSON MIME type alone gives bare JSON."""
    prose = text_of(ask(new_service(), request_body(PAIR, responseJsonSchema=None, responseMimeType=None)))
    bare = text_of(ask(new_service(), request_body(PAIR, responseJsonSchema=None)))
    assert prose.startswith("Here are the scores of 2 accounts.\n\n```json\n")
    assert orjson.loads(prose.split("```")[1].removeprefix("json")) == orjson.loads(bare)


def test_a_prompt_without_accounts_gets_no_scores() -> None:
    """The answer has an empty list."""
    assert scores_of(ask(new_service(), request_body([]))) == []


def test_a_long_common_prefix_is_cached() -> None:
    """From 1,024 tokens of common start on, the usage names cached tokens; a shorter one is not cached."""
    service = new_service()
    usages = [
        body_of(ask(service, request_body([random_account(seed)], system=system)))["usageMetadata"]
        for system in ("s" * 8_192, "t" * 3_000)
        for seed in range(2)
    ]
    assert [usage.get("cachedContentTokenCount") for usage in usages] == [None, 2_048, None, None]


def test_output_tokens_take_time() -> None:
    """The delay is the time to the first token and then the tokens at their speed."""
    service = new_service(latency={"mean_seconds": 0.5, "tokens_per_second": 100})
    answer = ask(service)
    tokens = body_of(answer)["usageMetadata"]["candidatesTokenCount"]
    assert answer.delay_seconds == pytest.approx(0.5 + tokens / 100)


def test_calls_are_counted() -> None:
    """Calls, statuses, faults, accounts, tokens and latency add up."""
    service = new_service(faults=(Fault(kind=FaultKind.HTTP_503, limit=1),))
    answers = [ask(service, request_body(PAIR)) for _ in range(3)]
    usage = body_of(answers[-1])["usageMetadata"]
    stats = service.stats()
    assert (stats.calls, stats.by_status, stats.by_fault) == (3, {"200": 2, "503": 1}, {"http_503": 1})
    assert (stats.in_flight, stats.peak_in_flight) == (0, 1)
    assert stats.accounts == 2 * len(PAIR)
    assert stats.prompt_tokens == 2 * usage["promptTokenCount"]
    assert stats.output_tokens == 2 * usage["candidatesTokenCount"]
    assert stats.latency_seconds_sum == pytest.approx(0.06)


def test_a_reset_counts_anew_and_repeats_the_faults() -> None:
    """After a reset the calls start at one, with limits unused and the configuration kept."""
    service = new_service(faults=(Fault(kind=FaultKind.HTTP_503, limit=1),))
    before = [ask(service).status for _ in range(2)]
    service.reset()
    assert [ask(service).status for _ in range(2)] == before == [503, 200]
    assert service.stats().calls == 2


def test_a_reset_forgets_prompts_but_not_calls_in_flight() -> None:
    """The first prompt after a reset is not cached, and a call that began before it is still in flight."""
    service = new_service()
    ask(service, request_body(PAIR, system="s" * 8_192))
    service.counts.arrive()
    service.reset()
    assert (service.stats().in_flight, service.stats().peak_in_flight, service.stats().calls) == (1, 1, 0)
    usage = body_of(ask(service, request_body(PAIR, system="s" * 8_192)))["usageMetadata"]
    assert "cachedContentTokenCount" not in usage


def test_the_peak_is_remembered() -> None:
    """Peak in flight is the most calls at one time, not the last number."""
    counts = new_service().counts
    counts.arrive()
    counts.arrive()
    counts.leave(200, None)
    counts.leave(None, None)
    counts.arrive()
    assert (counts.snapshot().peak_in_flight, counts.snapshot().in_flight) == (2, 1)


def test_a_refused_change_changes_nothing() -> None:
    """An unknown kind of fault leaves the configuration as it was."""
    service = new_service(seed=4)
    with pytest.raises(ValidationError):
        service.configure({"seed": 5, "faults": [{"kind": "meteor"}]})
    assert service.config.seed == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"faults": [{"kind": "http_418"}]},
        {"faults": [{"kind": "http_503", "rate": 1.5}]},
        {"faults": [{"kind": "http_503", "limit": 0}]},
        {"faults": [{"kind": "http_503", "match": ""}]},
        {"faults": [{"kind": "http_503", "colour": "red"}]},
        {"colour": "red"},
        {"latency": "slow"},
        {"latency": {"mean_seconds": 1, "p95_seconds": 5}},
        {"latency": {"mean_seconds": 1, "p95_seconds": 0.5}},
        {"max_concurrency": -1},
    ],
    ids=json.dumps,
)
def test_an_invalid_configuration_is_refused(changes: dict[str, Any]) -> None:
    """Unknown names and impossible values are refused, not ignored."""
    with pytest.raises(ValidationError):
        new_service().configure(changes)


def test_a_change_keeps_the_other_fields() -> None:
    """Only the fields that are named change."""
    config = new_service(seed=5, max_concurrency=2).configure({"latency": "flash-lite"})
    assert (config.seed, config.max_concurrency, config.latency.tokens_per_second) == (5, 2, 257)
