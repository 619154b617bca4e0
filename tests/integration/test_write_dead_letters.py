"""What a letter is promised: its message is published whatever happens behind it, or its bundle stops."""

from collections.abc import Iterator
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
from tests.integration.pubsub_targets import Target, embedded, wait_until
from transforms.clients.bigquery import Warehouse
from transforms.clients.outage import OutageSettings
from transforms.write.write_rows import WriteDeadLetters

pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag:DeprecationWarning")

RUNNERS = {"direct": BundleBasedDirectRunner, "fn_api": FnApiRunner}
PROJECT = "letters-that-are-written"
"""Of its own: a process keeps its connection to a project's warehouse."""


@pytest.fixture(scope="module")
def broker(environment: pytest.MonkeyPatch) -> Iterator[Target]:
    """Return our broker, which Google's clients find."""
    with embedded() as target:
        environment.setenv("PUBSUB_EMULATOR_HOST", target.host)
        yield target


def _write(runner: str, topic: str, *letters: DeadLetter, dataset: str) -> None:
    options = PipelineOptions([f"--project={PROJECT}"])
    with beam.Pipeline(runner=RUNNERS[runner](), options=options) as pipeline:
        outcomes = (
            pipeline
            | beam.Create(letters).with_output_types(DeadLetter)
            | WriteDeadLetters(PROJECT, dataset, DEAD_LETTERS, topic, "gemini-x", OutageSettings(deadline_seconds=1))
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
def test_a_letter_is_published_though_its_row_can_t_be_written(
    runner: str, broker: Target, warehouse: Warehouse
) -> None:
    """The dataset is not there: the bundle that writes the row fails, and the message is on the topic all the same."""
    topic = broker.topic()
    subscription = broker.subscription(topic)
    letters = [dead_letter(number) for number in range(5)]
    with pytest.raises(Exception, match="BigQuery: "):
        _write(runner, topic, *letters, dataset="nowhere")
    messages = _messages(broker, subscription, len(letters))
    assert {it.data for it in messages} == {it.source.payload for it in letters}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_letter_that_can_t_be_published_stops_its_bundle(runner: str, broker: Target, warehouse: Warehouse) -> None:
    """The topic is not there: the pipeline fails, and nothing says that the letter was dead-lettered."""
    RECORDED.clear()
    with pytest.raises(Exception, match=r"not found|NotFound"):
        _write(runner, broker.name_of("topics"), dead_letter(1), dataset="nowhere")
    assert RECORDED == []


@pytest.mark.parametrize("runner", RUNNERS)
def test_attributes_of_any_name_are_published(runner: str, broker: Target, warehouse: Warehouse) -> None:
    """Also those that are parameters of Google's client, by which Beam's WriteToPubSub loses or refuses them."""
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
