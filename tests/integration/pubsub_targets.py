"""The brokers of the conformance suite, each with Google's own clients."""

import os
import queue
import shutil
import signal
import socket
import subprocess
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

import grpc  # type: ignore[import-untyped]  # grpcio ships no annotations
import pytest
from google.cloud import pubsub_v1

from pipeline.local.pubsub import EmbeddedPubSub

PROJECT = "projects/demo-project"
START_SECONDS = 180
CALL_SECONDS = 90


@dataclass
class Target:
    """A broker, and the clients connected to it."""

    name: str
    publisher: Any
    subscriber: Any
    host: str
    _serial: Iterator[str] = field(default_factory=lambda: iter(lambda: uuid.uuid4().hex[:12], ""))

    def name_of(self, collected: str) -> str:
        """Return an unused resource name."""
        return f"{PROJECT}/{collected}/test-{next(self._serial)}"

    def topic(self, **settings: Any) -> str:
        """Create a topic."""
        name = self.name_of("topics")
        self.publisher.create_topic(request={"name": name, **settings}, timeout=CALL_SECONDS)
        return name

    def subscription(self, topic: str, **settings: Any) -> str:
        """Create a subscription."""
        name = self.name_of("subscriptions")
        self.subscriber.create_subscription(request={"name": name, "topic": topic, **settings}, timeout=CALL_SECONDS)
        return name

    def publish(self, topic: str, *bodies: str, key: str = "") -> list[str]:
        """Publish a message for each body in one request; return the ids."""
        return self.publish_messages(topic, [{"data": body.encode(), "ordering_key": key} for body in bodies])

    def publish_messages(self, topic: str, messages: Sequence[dict[str, Any]]) -> list[str]:
        """Publish messages in one request, without retries, which the batching client can't."""
        response = self.publisher._gapic_publish(
            request={"topic": topic, "messages": messages}, timeout=CALL_SECONDS, retry=None
        )
        return list(response.message_ids)

    def pull(self, subscription: str, max_messages: int = 100, *, at_once: bool = False) -> list[Any]:
        """Pull once."""
        request = {"subscription": subscription, "max_messages": max_messages, "return_immediately": at_once}
        with warnings.catch_warnings():
            # return_immediately is deprecated, but the only way to pull without waiting.
            warnings.simplefilter("ignore", DeprecationWarning)
            return list(self.subscriber.pull(request=request, timeout=CALL_SECONDS).received_messages)

    def pull_some(self, subscription: str, count: int) -> list[Any]:
        """Pull until that many messages have arrived."""
        received: list[Any] = []

        def pull() -> bool:
            received.extend(self.pull(subscription))
            return len(received) >= count

        wait_until(pull)
        return received

    def acknowledge(self, subscription: str, received: Sequence[Any]) -> None:
        """Acknowledge messages."""
        request = {"subscription": subscription, "ack_ids": [message.ack_id for message in received]}
        self.subscriber.acknowledge(request=request, timeout=CALL_SECONDS)

    def modify(self, subscription: str, received: Sequence[Any], seconds: int) -> None:
        """Set the ack deadline of messages."""
        request = {
            "subscription": subscription,
            "ack_ids": [message.ack_id for message in received],
            "ack_deadline_seconds": seconds,
        }
        self.subscriber.modify_ack_deadline(request=request, timeout=CALL_SECONDS)

    def nack(self, subscription: str, received: Sequence[Any]) -> None:
        """Nack messages."""
        self.modify(subscription, received, 0)


class Stream:
    """A StreamingPull whose requests the test writes one by one."""

    def __init__(self, target: Target, subscription: str, **first: Any) -> None:
        self._requests: queue.Queue[Any] = queue.Queue()
        self.send(subscription=subscription, **{"stream_ack_deadline_seconds": 10, **first})
        self._responses = target.subscriber.streaming_pull(
            requests=iter(self._requests.get, None), timeout=CALL_SECONDS, retry=None
        )

    def send(self, **request: Any) -> None:
        """Send a request."""
        self._requests.put(pubsub_v1.types.StreamingPullRequest(**request))

    def half_close(self) -> None:
        """End the requests."""
        self._requests.put(None)

    def receive(self, count: int) -> list[Any]:
        """Receive that many messages, or more."""
        received: list[Any] = []
        while len(received) < count:
            received.extend(next(self._responses).received_messages)
        return received

    def drain(self) -> None:
        """Read to the end, or until an error."""
        for _ in self._responses:
            pass

    def cancel(self) -> None:
        """Cancel the stream."""
        self.half_close()
        self._responses.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


def bodies(received: Sequence[Any]) -> list[str]:
    """Return the payloads as text."""
    return [message.message.data.decode() for message in received]


def wait_until(condition: Callable[[], object], seconds: float = 90) -> None:
    """Wait until a condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {seconds} s"
        time.sleep(0.02)


@contextmanager
def embedded() -> Iterator[Target]:
    """Run the embedded broker."""
    with EmbeddedPubSub() as broker, _clients("embedded", broker.host) as target:
        yield target


@contextmanager
def google_emulator(folder: Path) -> Iterator[Target]:
    """Run Google's emulator; skip the test if it is not installed."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        pytest.skip("gcloud is not installed")
    host = f"127.0.0.1:{_free_port()}"
    log, data = folder / "emulator.log", folder / "data"
    data.mkdir()
    command = [gcloud, "beta", "emulators", "pubsub", "start", f"--host-port={host}", "--project=demo-project"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, f"--data-dir={data}"],
            stdin=subprocess.DEVNULL,  # a gcloud without the emulator asks to install it, and gets no answer
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CLOUDSDK_CONFIG": str(folder / "gcloud")},
            start_new_session=True,  # gcloud starts Java: both end as one group
        )
    try:
        _await_start(process, host, log)
        with _clients("google", host) as target:
            yield target
    finally:
        _end_group(process)


def _await_start(process: subprocess.Popen[bytes], host: str, log: Path) -> None:
    with grpc.insecure_channel(host) as channel:
        ready = grpc.channel_ready_future(channel)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                _explain_exit(log.read_text())
            with suppress(grpc.FutureTimeoutError):
                ready.result(timeout=0.2)
                return
    pytest.fail(f"Google's Pub/Sub emulator was not ready after {START_SECONDS} s: {log.read_text()[-400:]}")


def _explain_exit(output: str) -> NoReturn:
    if "install" in output:
        pytest.skip("gcloud has no Pub/Sub emulator: gcloud components install pubsub-emulator")
    pytest.fail(f"Google's Pub/Sub emulator ended at its start: {output[-400:]}")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # the whole group is gone
            os.killpg(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _clients(name: str, host: str) -> Iterator[Target]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PUBSUB_EMULATOR_HOST", host)
        publisher = pubsub_v1.PublisherClient(
            publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
        )
        subscriber = pubsub_v1.SubscriberClient()
    try:
        yield Target(name, publisher, subscriber, host)
    finally:
        publisher.stop()
        publisher.transport.close()
        subscriber.close()
