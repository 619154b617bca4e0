"""Paths of Pub/Sub's resources from names that users type, checked before any call.

Pub/Sub itself would say INVALID_ARGUMENT, and no more.
"""

from pipeline.resources.names import resource_path
from schemas.identifiers import Snapshot, Subscription, Topic, checked


def topic_path(project: str, name: str, flag: str = "--topic") -> str:
    """Return `projects/P/topics/NAME`.

    Raises:
        ValueError: It is not the name of a topic; the message names the flag.
    """
    return resource_path(project, "topics", checked(Topic, name, flag))


def subscription_path(project: str, name: str, flag: str = "--subscription") -> str:
    """Return `projects/P/subscriptions/NAME`; see `topic_path`."""
    return resource_path(project, "subscriptions", checked(Subscription, name, flag))


def snapshot_path(project: str, name: str, flag: str = "--to-snapshot") -> str:
    """Return `projects/P/snapshots/NAME`; see `topic_path`."""
    return resource_path(project, "snapshots", checked(Snapshot, name, flag))
