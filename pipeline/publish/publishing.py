"""Publish change events: those of files, and those of the demo."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from more_itertools import chunked

from pipeline.ledger.event_files import EventFileError, read_event_files
from pipeline.resources.checked_names import topic_path
from transforms.clients.messages import MAX_REQUEST_MESSAGES, Message
from transforms.clients.pubsub import MessagePublisher, pubsub_calls


def publish_files(path: Path, *, project: str, topic: str, on_count: Callable[[int], None]) -> int:
    """Publish the events of a file or folder, one message each, and return their number.

    Args:
        path: The file or folder.
        project: Of the topic.
        topic: A name within the project, or a full path.
        on_count: Called with the number of messages published so far.

    Raises:
        EventFileError: The path has no event.
        ValueError: The topic is not a name.
        PubSubUnavailable: Pub/Sub did not answer, or did not accept a message.
    """
    count, to = 0, topic_path(project, topic)
    for count, _ in enumerate(publish_events(to, read_event_files(path)), 1):
        on_count(count)
    if not count:
        raise EventFileError(f"{path} has no event: expected one, or an array of them")
    return count


def publish_events(topic_path: str, payloads: Iterable[bytes]) -> Iterator[str]:
    """Publish payloads in order and yield the message ids, a request's at a time.

    An empty payload is sent with an attribute, since Pub/Sub requires one of the two.

    Raises:
        PubSubUnavailable: Pub/Sub did not answer, or did not accept a message.
    """
    with pubsub_calls(topic_path), closing(MessagePublisher.for_command()) as publisher:
        for chunk in chunked(payloads, MAX_REQUEST_MESSAGES):
            messages = [Message(payload, {} if payload else {"empty": "true"}) for payload in chunk]
            yield from publisher.publish(topic_path, messages)
