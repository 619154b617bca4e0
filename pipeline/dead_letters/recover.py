"""`rescore recover`: seek the subscription back to a time, after a crash of the whole job.

A seek acknowledges everything that was published before its time, unread messages too. So a snapshot is taken first: it
keeps every message that is unacknowledged now, and a seek to it undoes the recovery. Its lifetime tells how old the
oldest of them is, so a seek that would drop unread messages is refused (docs/adr/054).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.cloud import pubsub_v1
from rich.console import Group

from pipeline.resources.checked_names import snapshot_path, subscription_path
from pipeline.resources.names import SUBSCRIPTION
from pipeline.terminal.tables import Paragraph, verbatim
from pipeline.terminal.times import rfc3339
from schemas.clock import Clock, utc_now
from transforms.clients.pubsub import COMMAND_RETRY, PATIENCE_SECONDS, pubsub_calls

_CALL: Final[Mapping[str, Any]] = {"retry": COMMAND_RETRY, "timeout": PATIENCE_SECONDS}

SNAPSHOT_LIFETIME: Final = dt.timedelta(days=7)
"""A snapshot expires so long after its oldest message was published.

Source: https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.snapshots.
"""


@dataclass(frozen=True)
class SeekTarget:
    """A subscription, and where to seek it: to a time or to a snapshot."""

    subscription: str
    to: dt.datetime | None
    to_snapshot: str | None

    @property
    def snapshot_name(self) -> str:
        """The last part of the snapshot's path."""
        return (self.to_snapshot or "").rsplit("/", 1)[-1]

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "subscription": self.subscription,
            "to": rfc3339(self.to) if self.to else None,
            "to_snapshot": self.to_snapshot,
        }


@dataclass(frozen=True)
class Recovery:
    """What was done to a subscription; a seek to `snapshot` undoes it."""

    target: SeekTarget
    snapshot: str

    @property
    def undo(self) -> str:
        """What to type to undo it."""
        project = self.target.subscription.split("/")[1]
        return f"rescore recover --to-snapshot {self.snapshot.rsplit('/', 1)[1]} --project={project}"

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {**self.target.document(), "snapshot": self.snapshot, "executed": True}


def check_recovery(
    *,
    project: str,
    to: dt.datetime | None = None,
    to_snapshot: str | None = None,
    subscription: str = SUBSCRIPTION,
    now: Clock = utc_now,
) -> SeekTarget:
    """Check that a subscription can be sought to a time or a snapshot, and return it.

    Args:
        project: Of the subscription.
        to: Messages published from then on are delivered again, acknowledged or not.
        to_snapshot: Instead of a time, the snapshot that an earlier recovery took; undoes that recovery.
        subscription: A name, or `projects/P/subscriptions/NAME`.
        now: The clock.

    Raises:
        ValueError: A name is none, or the time is in the future, or before what the subscription retains.
        PubSubUnavailable: Pub/Sub did not answer, or has no such subscription or snapshot.
    """
    if (to is None) == (to_snapshot is None):
        raise ValueError("expected either --to TIME or --to-snapshot NAME")
    path = subscription_path(project, subscription)
    snapshot = snapshot_path(path.split("/")[1], to_snapshot) if to_snapshot is not None else ""
    with pubsub_calls(path), pubsub_v1.SubscriberClient() as client:
        settings = client.get_subscription(subscription=path, **_CALL)
        if to is not None:
            check_target(to, now(), settings.message_retention_duration, retains=settings.retain_acked_messages)
            return SeekTarget(path, to, None)
        with pubsub_calls(snapshot):
            return SeekTarget(path, None, client.get_snapshot(snapshot=snapshot, **_CALL).name)


def recover(
    *,
    project: str,
    to: dt.datetime | None = None,
    to_snapshot: str | None = None,
    subscription: str = SUBSCRIPTION,
    drop_unread: bool = False,
    now: Clock = utc_now,
) -> Recovery:
    """Take a snapshot of a subscription, then seek it to a time or to another snapshot; arguments as `check_recovery`.

    Args:
        project: Of the subscription.
        to: Messages published from then on are delivered again.
        to_snapshot: Instead of a time.
        subscription: A name, or `projects/P/subscriptions/NAME`.
        drop_unread: Seek to the time although older messages are unread.
        now: The clock.

    Raises:
        ValueError: The target can't be used, or older messages are unread; nothing was done.
        PubSubUnavailable: Pub/Sub did not answer, or has no such subscription or snapshot.
    """
    target = check_recovery(project=project, to=to, to_snapshot=to_snapshot, subscription=subscription, now=now)
    path = target.subscription
    name = f"{path.rsplit('/', 1)[1]}-before-{now():%Y%m%d-%H%M%S-%f}"
    snapshot = f"projects/{path.split('/')[1]}/snapshots/{name}"
    with pubsub_calls(path), pubsub_v1.SubscriberClient() as client:
        taken = client.create_snapshot(name=snapshot, subscription=path, **_CALL)
        where: dict[str, Any] = {"snapshot": target.to_snapshot}
        if target.to is not None:
            where = {"time": target.to}
            try:
                if taken.expire_time and not drop_unread:
                    check_unread(target.to, taken.expire_time - SNAPSHOT_LIFETIME)
            except ValueError:
                client.delete_snapshot(snapshot=snapshot, **_CALL)
                raise
        client.seek(request={"subscription": path, **where}, **_CALL)
    return Recovery(target, snapshot)


def check_target(to: dt.datetime, now: dt.datetime, retention: dt.timedelta, *, retains: bool) -> None:
    """Check that a seek to a time loses no messages and can bring some back.

    Raises:
        ValueError: It can't; the message says what to write instead.
    """
    if to >= now:
        raise ValueError(
            f"--to {rfc3339(to)} is in the future: a seek there drops unread messages. Name a time in the past"
        )
    if not retains:
        raise ValueError("the subscription does not retain acknowledged messages: a seek can bring none back")
    if now - to > retention:
        raise ValueError(
            f"--to {rfc3339(to)} is too early: the subscription retains messages for {retention.days} days. "
            "For older changes: rescore backfill"
        )


def check_unread(to: dt.datetime, oldest_unread: dt.datetime) -> None:
    """Check that no message is unread that was published before a time.

    Raises:
        ValueError: One is; the message says from when on to deliver instead.
    """
    if oldest_unread < to:
        oldest = f"{oldest_unread:%Y-%m-%dT%H:%M:%SZ}"
        raise ValueError(
            f"--to {to:%Y-%m-%dT%H:%M:%SZ} would drop unread messages, published from {oldest} on: nothing was done. "
            f"Write --to {oldest}, or add --drop-unread"
        )


def render(done: Recovery) -> Group:
    """Return the report: what was done, how to undo it, and what to do next."""
    target = done.target
    what = f"again from {target.to:%Y-%m-%d %H:%M:%S} UTC on" if target.to else f"what {target.snapshot_name} keeps"
    project = target.subscription.split("/")[1]
    # Longer than a grace period before the seek, so that reconcile takes it.
    since = f" --since {target.to - dt.timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}" if target.to else ""
    return Group(
        Paragraph(f"{target.subscription} delivers {what}", "bold"),
        Paragraph("To undo it:"),
        verbatim(f"  {done.undo}"),
        Paragraph("Next: start the job, and then reconcile until every event has one outcome:"),
        verbatim(f"  rescore reconcile{since} --project={project}"),
    )
