"""A dead letter's message is published even if its row can't be written; if it can't be, the bundle fails."""

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

import transforms.coders  # noqa: F401 - registers how the models travel
from schemas.change_event import SourceMessage
from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome
from schemas.tables import DEAD_LETTERS
from tests.fixtures.dead_letters import dead_letter
from tests.fixtures.shared_servers import SharedServers
from tests.integration.pubsub_targets import Target, wait_until
from transforms.clients.bigquery import Warehouse
from transforms.clients.outage import OutageSettings
from transforms.write.write_rows import WriteDeadLetters

pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag:DeprecationWarning")

RUNNERS = {"direct": BundleBasedDirectRunner, "fn_api": FnApiRunner}
PROJECT = "dead-letters-that-are-written"
"""A separate project: a process keeps its connection to a project's warehouse."""


@pytest.fixture(scope="module")
def broker(servers: SharedServers, environment: pytest.MonkeyPatch) -> Target:
    """Return our broker, with the environment set for Google's clients."""
    environment.setenv("PUBSUB_EMULATOR_HOST", servers.pubsub.host)
    return servers.pubsub


def _write(runner: str, topic: str, *dead_letters: DeadLetter, dataset: str) -> None:
    options = PipelineOptions([f"--project={PROJECT}"])
    with beam.Pipeline(runner=RUNNERS[runner](), options=options) as pipeline:
        outcomes = (
            pipeline
            | beam.Create(dead_letters).with_output_types(DeadLetter)
            | WriteDeadLetters(PROJECT, dataset, DEAD_LETTERS, topic, "gemini-x", OutageSettings(deadline_seconds=0.1))
        )
        _ = outcomes | beam.Map(_note).with_output_types(Outcome)


RECORDED: list[str] = []


def _note(outcome: Outcome) -> Outcome:
    RECORDED.append(outcome.event_id)
    return outcome


def _messages(target: Target, subscription: str, count: int) -> list[Any]:
    messages: list[Any] = []

    def pull() -> bool:
        some = target.pull(subscription, at_once=True)
        if some:
            target.acknowledge(subscription, some)
        messages.extend(item.message for item in some)
        return len(messages) >= count

    wait_until(pull)
    return messages


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_dead_letter_is_published_even_if_its_row_can_t_be_written(
    runner: str, broker: Target, warehouse: Warehouse
) -> None:
    """Without the dataset, the bundle that writes the row fails, but the message is on the topic."""
    topic = broker.topic()
    subscription = broker.subscription(topic)
    dead_letters = [dead_letter(number) for number in range(5)]
    with pytest.raises(Exception, match="BigQuery: "):
        _write(runner, topic, *dead_letters, dataset="nowhere")
    messages = _messages(broker, subscription, len(dead_letters))
    assert {it.data for it in messages} == {it.source.payload for it in dead_letters}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_dead_letter_that_can_t_be_published_fails_its_bundle(
    runner: str, broker: Target, warehouse: Warehouse
) -> None:
    """Without the topic, the pipeline fails, and the ledger has no row for the dead letter."""
    RECORDED.clear()
    with pytest.raises(Exception, match=r"not found|NotFound"):
        _write(runner, broker.name_of("topics"), dead_letter(1), dataset="nowhere")
    assert RECORDED == []


@pytest.mark.parametrize("runner", RUNNERS)
def test_attributes_of_any_name_are_published(runner: str, broker: Target, warehouse: Warehouse) -> None:
    """Attributes named like parameters of Google's client are published; Beam's WriteToPubSub loses or refuses them."""
    topic = broker.topic()
    subscription = broker.subscription(topic)
    attributes = {"timeout": "5", "retry": "no", "topic": "x", "data": "y", "ordering_key": "k", "self": "me"}
    with pytest.raises(Exception, match="BigQuery: "):
        _write(
            runner, topic, dead_letter(1, source=SourceMessage(payload=b"x", attributes=attributes)), dataset="nowhere"
        )
    (message,) = _messages(broker, subscription, 1)
    assert attributes.items() <= dict(message.attributes).items()
    assert message.attributes["model"] == "gemini-x"
