"""Publish dead letters: a dead letter goes on after Pub/Sub has its message; see docs/adr/050."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from schemas.dead_letter import DeadLetter, message_attributes
from transforms.clients.messages import MAX_REQUEST_BYTES, MAX_REQUEST_MESSAGES, Message
from transforms.clients.pubsub import MessagePublisher

STAGE = "Write dead letters"


def dead_letter_message(dead_letter: DeadLetter, model: str | None = None) -> Message:
    """Return the message of a dead letter: the original payload, and the failure in the attributes."""
    return Message(dead_letter.source.payload, message_attributes(dead_letter, model))


@dataclass
class PublishDeadLetters(beam.PTransform):
    """Publish dead letters; if one can't be published, the bundle fails and none of it goes on.

    Input and output: DeadLetter.

    Args:
        topic: `projects/P/topics/NAME`.
        model: The model that the pipeline calls, named in dead letters that reached a prompt.
    """

    topic: str
    model: str | None = None

    def expand(self, dead_letters: beam.PCollection[DeadLetter]) -> beam.PCollection[DeadLetter]:
        """Publish a bundle in as few requests as possible."""
        return dead_letters | beam.ParDo(_Publish(self.topic, self.model)).with_output_types(DeadLetter)


class _Publish(beam.DoFn):
    def __init__(self, topic: str, model: str | None) -> None:
        self.topic, self.model = topic, model
        self.published = Metrics.counter(STAGE, "letters_published_total")
        self._publisher: MessagePublisher | None = None
        self._waiting: list[tuple[DeadLetter, Message, Any]] = []
        self._bytes = 0

    def start_bundle(self) -> None:
        self._waiting, self._bytes = [], 0

    def process(self, dead_letter: DeadLetter, timestamp: Any = beam.DoFn.TimestampParam) -> Iterator[WindowedValue]:
        message = dead_letter_message(dead_letter, self.model)
        self._waiting.append((dead_letter, message, timestamp))
        self._bytes += message.size
        if len(self._waiting) >= MAX_REQUEST_MESSAGES or self._bytes >= MAX_REQUEST_BYTES:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield from self._flush()

    def teardown(self) -> None:
        if self._publisher:
            self._publisher.close()
            self._publisher = None

    def _flush(self) -> Iterator[WindowedValue]:
        if not self._waiting:
            return
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if self._publisher is None:  # most bundles have no dead letter
            self._publisher = MessagePublisher()
        self._publisher.publish(self.topic, [message for _, message, _ in waiting])
        self.published.inc(len(waiting))
        for dead_letter, _, timestamp in waiting:
            yield WindowedValue(dead_letter, timestamp, [GlobalWindow()])
