"""The servers of a stack: its own Pub/Sub, or the emulator that PUBSUB_EMULATOR_HOST alone names."""

from pathlib import Path

import pytest

from pipeline.local.pubsub import EmbeddedPubSub
from pipeline.local.pubsub.errors import NotFoundError
from pipeline.local.stack_processes import PROJECT, stack_processes
from pipeline.resources.names import SUBSCRIPTION, resource_path


@pytest.fixture(autouse=True)
def _no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PUBSUB_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "GOOGLE_VERTEX_BASE_URL", "LOCAL_STACK_CONTROL"):
        monkeypatch.delenv(name, raising=False)


def test_an_emulator_alone_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the topics and subscriptions."""
    with EmbeddedPubSub() as other:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", other.host)
        with stack_processes(tmp_path, is_kept=False) as stack:
            assert stack.environment["PUBSUB_EMULATOR_HOST"] == other.host
            assert other.backlog(resource_path(PROJECT, "subscriptions", SUBSCRIPTION)) == 0


def test_another_stack_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a shell with its exports, the new stack has servers of its own."""
    with EmbeddedPubSub() as other:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", other.host)
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")
        with stack_processes(tmp_path, is_kept=False) as stack:
            assert stack.environment["PUBSUB_EMULATOR_HOST"] != other.host
            assert stack.environment["BIGQUERY_EMULATOR_HOST"] != "http://127.0.0.1:9"
            with pytest.raises(NotFoundError, match=SUBSCRIPTION):
                other.backlog(resource_path(PROJECT, "subscriptions", SUBSCRIPTION))
