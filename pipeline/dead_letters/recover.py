"""`rescore recover`: seek the subscription back to a time, after a crash of the whole job.

A seek acknowledges everything that was published before its time, unread messages too. So a snapshot is taken first: it
keeps every message that is unacknowledged now, and a seek to it undoes the recovery.
"""

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any

from google.cloud import pubsub_v1

from pipeline.resources.names import SUBSCRIPTION, resource_path
from schemas.clock import Clock, utc_now

CALL_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Recovery:
    """What was done to a subscription; a seek to `snapshot` undoes it."""

    subscription: str
    to: dt.datetime | None
    to_snapshot: str | None
    snapshot: str

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return asdict(self) | {"to": self.to.isoformat() if self.to else None}


def recover(
    *,
    project: str,
    to: dt.datetime | None = None,
    to_snapshot: str | None = None,
    subscription: str = SUBSCRIPTION,
    now: Clock = utc_now,
) -> Recovery:
    """Take a snapshot of a subscription, then seek it to a time or to another snapshot.

    Args:
        project: Of the subscription.
        to: Messages published from then on are delivered again, acknowledged or not.
        to_snapshot: Instead of a time, the snapshot that an earlier recovery took; undoes that recovery.
        subscription: A name, or `projects/P/subscriptions/NAME`.
        now: The clock.

    Raises:
        ValueError: The time is in the future, or before what the subscription retains; nothing was done.
        GoogleAPICallError: Pub/Sub did not answer, or has no such subscription.
    """
    if (to is None) == (to_snapshot is None):
        raise ValueError("expected either --to TIMESTAMP or --to-snapshot NAME")
    path = resource_path(project, "subscriptions", subscription)
    with pubsub_v1.SubscriberClient() as client:
        settings = client.get_subscription(subscription=path, timeout=CALL_TIMEOUT_SECONDS)
        if to is not None:
            check_target(to, now(), settings.message_retention_duration, retains=settings.retain_acked_messages)
        name = f"{path.rsplit('/', 1)[1]}-before-{now():%Y%m%d-%H%M%S-%f}"
        owner = path.split("/")[1]
        snapshot = f"projects/{owner}/snapshots/{name}"
        client.create_snapshot(name=snapshot, subscription=path, timeout=CALL_TIMEOUT_SECONDS)
        target = {"time": to} if to_snapshot is None else {"snapshot": resource_path(owner, "snapshots", to_snapshot)}
        client.seek(request={"subscription": path, **target}, timeout=CALL_TIMEOUT_SECONDS)
    return Recovery(path, to, to_snapshot, snapshot)


def check_target(to: dt.datetime, now: dt.datetime, retention: dt.timedelta, *, retains: bool) -> None:
    """Check that a seek to a time loses no messages and can bring some back.

    Raises:
        ValueError: It can't; the message says what to write instead.
    """
    if to >= now:
        raise ValueError(
            f"--to {to.isoformat()} is in the future: a seek there drops unread messages. Name a time in the past"
        )
    if not retains:
        raise ValueError("the subscription does not retain acknowledged messages: a seek can bring none back")
    if now - to > retention:
        raise ValueError(f"--to {to.isoformat()} is too early: the subscription retains {retention} of messages")


def render(done: Recovery) -> str:
    """Return the report: what was done, how to undo it, and what to do next."""
    what = f"again from {done.to:%Y-%m-%d %H:%M:%S} UTC on" if done.to else f"the messages of {done.to_snapshot}"
    return (
        f"{done.subscription} now delivers {what}\n"
        f"to undo it: rescore recover --to-snapshot {done.snapshot.rsplit('/', 1)[1]}\n"
        "next: start the job, then rescore reconcile"
    )
