"""`rescore publish` publishes what files hold, and says how many events these were."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.local.pubsub import EmbeddedPubSub
from pipeline.resources.names import SUBSCRIPTION, resource_path
from pipeline.resources.topics import create_topics


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedPubSub]:
    """Return a broker with the topics and subscriptions of the project `my-project`."""
    with EmbeddedPubSub() as embedded:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", embedded.host)
        create_topics("my-project")
        yield embedded


def _publish(path: Path) -> Result:
    return CliRunner().invoke(app, ["publish", str(path), "--project", "my-project"])


def _published(broker: EmbeddedPubSub) -> int:
    return broker.backlog(resource_path("my-project", "subscriptions", SUBSCRIPTION))


@pytest.mark.parametrize(
    ("content", "said"), [(b'{"a": 1}\n', "published 1 event to"), (b"{}\n{}\n", "published 2 events to")]
)
def test_the_number_of_events_is_said(broker: EmbeddedPubSub, tmp_path: Path, content: bytes, said: str) -> None:
    """One event is one message."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(content)
    done = _publish(file)
    assert done.exit_code == 0
    assert said in done.stderr
    assert _published(broker) == content.count(b"\n")


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), (b"\n", "is empty"), (b"[]", "has no event")])
def test_a_file_without_an_event_is_refused(broker: EmbeddedPubSub, tmp_path: Path, content: bytes, said: str) -> None:
    """One line names the file, and nothing is published."""
    file = tmp_path / "events.json"
    file.write_bytes(content)
    done = _publish(file)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert f"{file} {said}" in line
    assert _published(broker) == 0
