"""Publish change events, as Salesforce's bridge would."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future

from google.cloud import pubsub_v1

IN_FLIGHT = 1_000
"""Messages that wait for their acknowledgement at once: bounds the memory that publishing takes."""


def publish_events(topic_path: str, payloads: Iterable[bytes]) -> Iterator[str]:
    """Publish payloads in order and yield each one's message id as Pub/Sub acknowledges it.

    An empty payload is sent with an attribute, since Pub/Sub takes no message without either.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: Pub/Sub did not take a message.
    """
    publisher = pubsub_v1.PublisherClient(
        batch_settings=pubsub_v1.types.BatchSettings(max_messages=500, max_latency=0.02)
    )
    waiting: list[Future[str]] = []
    try:
        for payload in payloads:
            waiting.append(publisher.publish(topic_path, payload, **({} if payload else {"empty": "true"})))
            if len(waiting) >= IN_FLIGHT:
                yield from (future.result() for future in waiting)
                waiting.clear()
        yield from (future.result() for future in waiting)
    finally:
        publisher.stop()
