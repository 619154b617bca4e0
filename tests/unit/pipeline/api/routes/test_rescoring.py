"""One account is scored again: a plan, an event, once."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.api.documents import RescoringDocument
from pipeline.ledger.explanation import Decision, explain_message
from schemas.account_context import AccountProfile
from tests.fixtures.api import OPERATOR, READER, ApiClient, Resources, api, bearer
from tests.fixtures.changes import account_id
from tests.fixtures.read_model import KeptSource
from tests.fixtures.scores import score_row
from tests.unit.pipeline.api.routes.test_change_events import Topic
from transforms.filter.materiality import load_materiality

NOW: Final = dt.datetime(2026, 3, 2, 9, 30, 17, tzinfo=dt.UTC)
EXECUTE: Final = {"execute": True}


def _source() -> KeptSource:
    return KeptSource(
        stored=[
            score_row(1, 40, NOW - dt.timedelta(days=1)),
            score_row(2, 50, NOW - dt.timedelta(minutes=5)),
            score_row(3, 60, NOW - dt.timedelta(days=2)),
            score_row(3, None, NOW - dt.timedelta(days=1)),
        ],
        accounts=[AccountProfile(account_id=account_id(4), name="A", modified_at=NOW)],
    )


@pytest.fixture
def topic() -> Topic:
    """Return a topic."""
    return Topic()


@pytest.fixture
def client(tmp_path: Path, topic: Topic) -> Iterator[ApiClient]:
    """Return a client of an app that publishes to the topic."""
    with api(tmp_path, _source(), NOW, publish=topic.publish) as made:
        yield made


def _ask(client: ApiClient, number: int, body: Any = None, *, who: str = OPERATOR, **headers: str) -> Any:
    path = f"/v1/accounts/{account_id(number)}:rescore"
    return client.post(path, json={} if body is None else body, headers={**bearer(who), **headers})


def test_a_plan_says_what_it_may_cost(client: ApiClient, topic: Topic) -> None:
    """And publishes nothing; the mirror is taken to be a quarter of an hour old, in whole minutes."""
    answer = _ask(client, 1)
    assert answer.status_code == 200
    document = answer.json()
    RescoringDocument.model_validate(document)
    assert (document["executed"], document["as_of"]) == (False, "2026-03-02T09:15:00Z")
    assert (document["cost"]["scores"], document["cost"]["tokens"]) == (1, 2240)
    assert document["cost"]["dollars"] > 0
    assert topic == []


@pytest.mark.parametrize("number", [1, 4])
def test_it_is_an_event_that_is_scored(client: ApiClient, topic: Topic, number: int) -> None:
    """With the id that the plan had; an account of the mirror needs no score before."""
    planned = _ask(client, number).json()
    answer = _ask(client, number, EXECUTE)
    assert (answer.status_code, answer.json()) == (202, {**planned, "executed": True})
    (message,) = topic
    (explained,) = explain_message(message.payload, load_materiality())
    assert (explained.decision, explained.account_id) == (Decision.RESCORE, account_id(number))
    assert explained.event_id == planned["event_id"]
    assert message.attributes == {"published_by": OPERATOR}


def test_a_key_is_carried_out_once(client: ApiClient, topic: Topic) -> None:
    """The second answer is the first one; another account needs another key."""
    key = {"Idempotency-Key": "key-00001"}
    first, second = (_ask(client, 1, EXECUTE, **key) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert _ask(client, 4, EXECUTE, **key).status_code == 422
    assert len(topic) == 1


@pytest.mark.parametrize(
    ("number", "body", "status"),
    [
        (2, EXECUTE, 409),
        (3, {}, 409),
        (3, EXECUTE, 409),
        (9, {}, 404),
        (1, {"execute": "yes"}, 422),
        (1, {"exceute": True}, 422),
        (1, [], 422),
    ],
)
def test_what_would_do_nothing_is_refused(client: ApiClient, topic: Topic, number: int, body: Any, status: int) -> None:
    """A newer change was scored, the account was deleted, or nobody knows it; or the request is not one."""
    answer = _ask(client, number, body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert topic == []


def test_a_reader_may_not(client: ApiClient, topic: Topic) -> None:
    """It costs money."""
    assert _ask(client, 1, EXECUTE, who=READER).status_code == 403
    assert topic == []


def test_a_newer_change_is_in_the_plan(client: ApiClient) -> None:
    """So that nobody asks in vain."""
    assert _ask(client, 2).json()["newer_change_at"] == "2026-03-02T09:24:17Z"


def test_without_bigquery_nothing_is_published(tmp_path: Path, topic: Topic) -> None:
    """What it costs can't be said."""
    with api(tmp_path, _source(), NOW, publish=topic.publish, resources=Resources(is_down=True)) as client:
        answer = _ask(client, 1, EXECUTE, **{"Idempotency-Key": "key-00001"})
    assert answer.status_code == 503
    assert topic == []
