"""Change events over HTTP: published under their own identity, or refused with the reason."""

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from pipeline.api.auth.webhook_signatures import signature_of
from pipeline.api.documents import AcceptedEvents
from pipeline.api.gate import MAX_EVENTS_BODY
from tests.fixtures.api import PUBLISHER, WEBHOOK, ApiClient, api, bearer
from tests.fixtures.changes import account_id, payload
from tests.fixtures.planted_secrets import SESSION_ID_IN_PAYLOAD, WEBHOOK_SECRET
from tests.fixtures.read_model import KeptSource
from transforms.clients.messages import Message

NOW: Final = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
PATH: Final = "/v1/change-events"
PARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Topic(list[Message]):
    """Keeps what is published."""

    def publish(self, messages: Sequence[Message]) -> list[str]:
        """Keep messages."""
        self.extend(messages)
        return [str(number) for number in range(len(messages))]


@pytest.fixture
def topic() -> Topic:
    """Return a topic."""
    return Topic()


@pytest.fixture
def client(tmp_path: Path, topic: Topic) -> Iterator[ApiClient]:
    """Return a client of an app that publishes to the topic."""
    with api(tmp_path, KeptSource(), NOW, publish=topic.publish) as made:
        yield made


def _send(client: ApiClient, body: bytes, **headers: str) -> Any:
    return client.post(PATH, content=body, headers={**bearer(PUBLISHER), **headers})


def test_an_event_is_published_byte_for_byte(client: ApiClient, topic: Topic) -> None:
    """With who sent it, and the trace that it belongs to; its id is the same however often it is sent."""
    first, second = (_send(client, payload(), traceparent=PARENT) for _ in range(2))
    assert first.status_code == 202
    AcceptedEvents.model_validate(first.json())
    assert first.json() == second.json()
    assert [it.payload for it in topic] == [payload()] * 2
    assert topic[0].attributes == {"published_by": PUBLISHER, "traceparent": PARENT}


def test_a_list_is_a_message_for_each_event(client: ApiClient, topic: Topic) -> None:
    """What can't be read is left out, and told."""
    body = b"[" + b",".join([payload(), b"{}", payload(recordIds=[account_id(2)])]) + b"]"
    answer = _send(client, body, traceparent="nonsense")
    document = answer.json()
    AcceptedEvents.model_validate(document)
    assert (answer.status_code, document["accepted"], document["refused"]) == (202, 2, 1)
    assert [it["status"] for it in document["events"]] == ["accepted", "refused", "accepted"]
    assert [it.payload for it in topic] == [payload(), payload(recordIds=[account_id(2)])]
    assert "traceparent" not in topic[0].attributes


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"nonsense", b"\xff\xfe", b"[1, 2]", b"null", b"[" * 50_000])
def test_nothing_is_published_of_what_can_not_be_read(client: ApiClient, topic: Topic, body: bytes) -> None:
    """The problem has the reason of each."""
    answer = _send(client, body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert all(it["refusals"][0]["remedy"] for it in answer.json()["events"])
    assert topic == []


def test_a_refusal_quotes_nothing(client: ApiClient) -> None:
    """A payload can hold anything, a session id for example."""
    named = orjson.loads(payload(recordIds=[SESSION_ID_IN_PAYLOAD]))
    body = orjson.dumps([{"sessionId": SESSION_ID_IN_PAYLOAD}, SESSION_ID_IN_PAYLOAD, named])
    answer = _send(client, body)
    assert answer.status_code == 422
    assert SESSION_ID_IN_PAYLOAD not in answer.text


def test_requests_are_bounded(client: ApiClient, topic: Topic) -> None:
    """In bytes and in events."""
    assert _send(client, b"x" * (MAX_EVENTS_BODY + 1)).status_code == 413
    assert _send(client, b"[" + b",".join([b"1"] * 1_001) + b"]").status_code == 413
    assert topic == []


def test_pubsub_that_does_not_answer_is_503(tmp_path: Path) -> None:
    """The sender sends again: nothing is lost, and what was published twice is a duplicate."""
    with api(tmp_path, KeptSource(), NOW) as client:
        answer = _send(client, payload())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


def _signed(body: bytes, nonce: str, seconds: int | None = None) -> dict[str, str]:
    at = int(time.time()) if seconds is None else seconds
    return {
        "X-Rescore-Webhook": WEBHOOK,
        "X-Rescore-Signature": signature_of(WEBHOOK_SECRET, ("POST", PATH, body), at, nonce),
    }


def test_a_webhook_publishes_once_with_each_signature(client: ApiClient, topic: Topic) -> None:
    """A recorded request, one that was signed long ago, and one whose body was changed publish nothing."""
    headers = _signed(payload(), "nonce-0001")
    assert client.post(PATH, content=payload(), headers=headers).status_code == 202
    assert topic[0].attributes == {"published_by": f"webhook:{WEBHOOK}"}
    refused = [
        client.post(PATH, content=payload(), headers=headers),
        client.post(PATH, content=payload(), headers=_signed(payload(), "nonce-0002", int(time.time()) - 400)),
        client.post(PATH, content=payload({"Rating": "Cold"}), headers=_signed(payload(), "nonce-0003")),
    ]
    assert [it.status_code for it in refused] == [401, 401, 401]
    assert len(topic) == 1
    for reads in ("/v1/scores", "/metrics"):
        assert client.get(reads, headers=headers).status_code == 401
