"""`rescore publish`: change events from files to a topic."""

from pathlib import Path

from pipeline.ledger.event_files import read_event_files
from pipeline.local.publishing import publish_events


def publish(path: Path, *, project: str, topic: str) -> int:
    """Publish the events at a path and return how many Pub/Sub took."""
    topic_path = topic if "/" in topic else f"projects/{project}/topics/{topic}"
    return sum(1 for _ in publish_events(topic_path, read_event_files(path)))
