"""How the local runner reads a subscription: bundles, acknowledgements, and waits."""

import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState
from google.cloud import pubsub_v1

from pipeline.local import runner as local_runner
from pipeline.local.message_buffer import _Waiting
from pipeline.local.pubsub import EmbeddedPubSub
from pipeline.local.runner import MAX_BUNDLE_MESSAGES, LocalRunner
from pipeline.publish.publishing import publish_events
from tests.fixtures.waiting import wait_until

SECONDS = 60
TOPIC, SUBSCRIPTION = "projects/demo-project/topics/changes", "projects/demo-project/subscriptions/rescoring"


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedPubSub]:
    """Return a broker with a topic and a subscription."""
    with EmbeddedPubSub() as embedded:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", embedded.host)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-project")
        with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
            publisher.create_topic(name=TOPIC)
            subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
        yield embedded


def _publish(*bodies: str) -> None:
    assert list(publish_events(TOPIC, [body.encode() for body in bodies]))


def _streaming() -> beam.Pipeline:
    return beam.Pipeline(runner=LocalRunner(), options=PipelineOptions(["--streaming"]))


class _Bundles:
    """The bundles that reached a step, and a way to wait for a message."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.bodies: list[str] = []
        self._changed = threading.Condition()

    def add(self, bodies: list[str]) -> None:
        with self._changed:
            self.sizes.append(len(bodies))
            self.bodies += bodies
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.bodies) >= count, SECONDS), self.bodies


BUNDLES: list[_Bundles] = []
BLOCKED = threading.Event()


class _Gather(beam.DoFn):
    """Hands each bundle to the test, then waits while the test blocks."""

    def start_bundle(self) -> None:
        self.bodies: list[str] = []

    def process(self, message: PubsubMessage) -> None:
        self.bodies.append(message.data.decode())

    def finish_bundle(self) -> None:
        BUNDLES[-1].add(self.bodies)
        assert BLOCKED.wait(SECONDS)


@pytest.fixture
def reading(broker: EmbeddedPubSub) -> Iterator[_Bundles]:
    """Run a pipeline that reads the subscription."""
    BUNDLES.append(_Bundles())
    BLOCKED.set()
    pipeline = _streaming()
    _ = pipeline | ReadFromPubSub(subscription=SUBSCRIPTION, with_attributes=True) | beam.ParDo(_Gather())
    result = pipeline.run()
    yield BUNDLES[-1]
    BLOCKED.set()
    if result.state == PipelineState.RUNNING:
        result.cancel()


def test_messages_that_wait_become_one_bundle(reading: _Bundles, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a bundle is processed, messages gather for the next, in their order."""
    gathered = threading.Semaphore(0)
    schedule = _Waiting.schedule

    def counted(waiting: _Waiting, *arguments: Any, **options: Any) -> None:
        schedule(waiting, *arguments, **options)
        gathered.release()

    BLOCKED.clear()
    _publish("first")
    reading.wait_for(1)
    monkeypatch.setattr(_Waiting, "schedule", counted)
    bodies = [str(number) for number in range(2 * MAX_BUNDLE_MESSAGES)]
    _publish(*bodies)
    many = MAX_BUNDLE_MESSAGES // 2  # the client may count the first message until its acknowledgement was sent
    for number in range(many):
        assert gathered.acquire(timeout=SECONDS), number
    BLOCKED.set()
    reading.wait_for(1 + len(bodies))
    assert reading.bodies == ["first", *bodies]
    assert reading.sizes[0] == 1
    assert many <= reading.sizes[1] <= MAX_BUNDLE_MESSAGES
    assert max(reading.sizes) <= MAX_BUNDLE_MESSAGES


def test_messages_that_were_read_are_acknowledged(broker: EmbeddedPubSub, reading: _Bundles) -> None:
    """As with Beam's runner, a message is acknowledged when it has been read."""
    _publish("a", "b")
    reading.wait_for(2)
    wait_until(lambda: broker.backlog(SUBSCRIPTION) == 0)


def test_messages_that_were_not_read_go_back(broker: EmbeddedPubSub) -> None:
    """A pipeline that stops returns what it had received in advance, for the next one."""
    BUNDLES.append(_Bundles())
    BLOCKED.clear()
    pipeline = _streaming()
    _ = pipeline | ReadFromPubSub(subscription=SUBSCRIPTION, with_attributes=True) | beam.ParDo(_Gather())
    result = pipeline.run()
    _publish("read")
    BUNDLES[-1].wait_for(1)
    _publish("waits")
    stopping = threading.Thread(target=result.cancel)
    stopping.start()
    BLOCKED.set()
    stopping.join(SECONDS)
    if "waits" in BUNDLES[-1].bodies:
        wait_until(lambda: broker.backlog(SUBSCRIPTION) == 0)
    else:
        with pubsub_v1.SubscriberClient() as subscriber:
            wait_until(lambda: subscriber.pull(subscription=SUBSCRIPTION, max_messages=1).received_messages)


def test_a_missing_subscription_ends_the_pipeline(broker: EmbeddedPubSub) -> None:
    """The error of the stream reaches whoever waits for the pipeline."""
    pipeline = _streaming()
    _ = pipeline | ReadFromPubSub(subscription=f"{SUBSCRIPTION}-of-nobody")
    with pytest.raises(Exception, match="of-nobody"):
        pipeline.run().wait_until_finish()


def test_an_idle_pipeline_sleeps(reading: _Bundles, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle pipeline waits on the subscription, and a message ends the wait at once."""
    is_idle = threading.Event()
    take = _Waiting.take

    def noted(waiting: _Waiting, max_messages: int, seconds: float) -> list[Any]:
        if seconds > SECONDS:
            is_idle.set()
        taken = take(waiting, max_messages, seconds)
        is_idle.clear()
        return taken

    monkeypatch.setattr(_Waiting, "take", noted)
    monkeypatch.setattr(local_runner, "MAX_IDLE_SECONDS", 10 * SECONDS)
    _publish("wakes")
    reading.wait_for(1)
    assert is_idle.wait(SECONDS)  # for longer than this test may take
    monkeypatch.setattr(local_runner, "MAX_IDLE_SECONDS", 0.1)  # so that it ends with the test
    _publish("wakes again")
    reading.wait_for(2)
