"""Whose permissions are looked for, which role has each, and what is said of one that lacks."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Final

from pipeline.doctor.check import Finding, Status

PUBLISH: Final = "pubsub.topics.publish"
SEE_TOPIC: Final = "pubsub.topics.get"
CONSUME: Final = "pubsub.subscriptions.consume"
SEE_SUBSCRIPTION: Final = "pubsub.subscriptions.get"
SEE_TABLE: Final = "bigquery.tables.get"
READ: Final = "bigquery.tables.getData"
WRITE: Final = "bigquery.tables.updateData"

ROLES: Final[Mapping[str, str]] = {
    PUBLISH: "roles/pubsub.publisher",
    SEE_TOPIC: "roles/pubsub.viewer",
    CONSUME: "roles/pubsub.subscriber",
    SEE_SUBSCRIPTION: "roles/pubsub.viewer",
    SEE_TABLE: "roles/bigquery.dataViewer",
    READ: "roles/bigquery.dataViewer",
    WRITE: "roles/bigquery.dataEditor",
}
"""As infrastructure/identities.tf grants them."""


class Duty(StrEnum):
    """What credentials are meant for."""

    PIPELINE = "pipeline"
    REPLAY = "replay"
    BOTH = "both"


Needs = Mapping[str, Mapping[Duty, Sequence[str]]]
"""By the name of a topic, a subscription or a table: the permissions that each duty needs on it."""


def needed(needs: Needs, duty: Duty) -> dict[str, tuple[str, ...]]:
    """Return the permissions that a duty needs by name; names that it needs none on are left out."""
    duties = (Duty.PIPELINE, Duty.REPLAY) if duty is Duty.BOTH else (duty,)
    wanted = {
        name: tuple(dict.fromkeys(permission for each in duties for permission in by_duty.get(each, ())))
        for name, by_duty in needs.items()
    }
    return {name: permissions for name, permissions in wanted.items() if permissions}


def judge(wanted: Sequence[str], granted: Collection[str] | None) -> Finding:
    """Say which permissions lack; `granted` of None: the server does not tell."""
    if granted is None:
        return Finding(Status.NOT_TOLD, "the server does not say who may do what")
    lacking = [permission for permission in wanted if permission not in granted]
    if not lacking:
        return Finding(Status.OK, ", ".join(wanted))
    roles = dict.fromkeys(ROLES[permission] for permission in lacking)
    return Finding(Status.FAILED, f"not granted: {', '.join(lacking)}", grant(" and ".join(roles)))


def grant(role: str) -> str:
    """Return the remedy where a role lacks."""
    return f"grant these credentials {role}: infrastructure/identities.tf"
