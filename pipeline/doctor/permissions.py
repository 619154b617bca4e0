"""Which permissions each persona needs, which role grants each, and the finding for missing ones."""

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
"""The role that grants each permission, as in infrastructure/identities.tf."""


class Persona(StrEnum):
    """Whose permissions the credentials should have."""

    PIPELINE = "pipeline"
    REPLAY = "replay"
    BOTH = "both"


Needs = Mapping[str, Mapping[Persona, Sequence[str]]]
"""Name of a topic, subscription or table → permissions that each persona needs on it."""


def needed(needs: Needs, persona: Persona) -> dict[str, tuple[str, ...]]:
    """Return the permissions that a persona needs by name of the resource, without those it needs none on."""
    personas = (Persona.PIPELINE, Persona.REPLAY) if persona is Persona.BOTH else (persona,)
    wanted = {
        name: tuple(dict.fromkeys(permission for each in personas for permission in by_persona.get(each, ())))
        for name, by_persona in needs.items()
    }
    return {name: permissions for name, permissions in wanted.items() if permissions}


def judge(wanted: Sequence[str], granted: Collection[str] | None) -> Finding:
    """Return which permissions are missing; `granted` of None means that the server does not tell."""
    if granted is None:
        return Finding(Status.NOT_TOLD, "the server does not tell permissions")
    missing = [permission for permission in wanted if permission not in granted]
    if not missing:
        return Finding(Status.OK, ", ".join(wanted))
    roles = dict.fromkeys(ROLES[permission] for permission in missing)
    return Finding(Status.FAILED, f"not granted: {', '.join(missing)}", grant(" and ".join(roles)))


def grant(role: str) -> str:
    """Return the remedy for a missing role."""
    return f"grant these credentials {role}: infrastructure/identities.tf"
