"""Publish change events: those of files, and those of the demo."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from more_itertools import chunked

from pipeline.ledger.event_files import EventFileError, read_event_files
from transforms.clients.messages import MAX_REQUEST_MESSAGES, Message
from transforms.clients.pubsub import MessagePublisher


def publish_files(path: Path, *, project: str, topic: str) -> int:
    """Publish the events of a file or folder, one message each, and return their number.

    `topic` is a name within the project, or a full path.

    Raises:
        EventFileError: The path has no event.
    """
    topic_path = topic if "/" in topic else f"projects/{project}/topics/{topic}"
    count = sum(1 for _ in publish_events(topic_path, read_event_files(path)))
    if not count:
        raise EventFileError(f"{path} has no event: expected one, or an array of them")
    return count


def publish_events(topic_path: str, payloads: Iterable[bytes]) -> Iterator[str]:
    """Publish payloads in order and yield the message ids, a request's at a time.

    An empty payload is sent with an attribute, since Pub/Sub requires one of the two.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: Pub/Sub did not accept a message.
    """
    publisher = MessagePublisher()
    try:
        for chunk in chunked(payloads, MAX_REQUEST_MESSAGES):
            messages = [Message(payload, {} if payload else {"empty": "true"}) for payload in chunk]
            yield from publisher.publish(topic_path, messages)
    finally:
        publisher.close()
