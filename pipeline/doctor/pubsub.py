"""Checks of topics and subscriptions: whether they exist, belong together, and may be used."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from google.api_core import exceptions as api
from google.cloud import pubsub_v1

from pipeline.doctor.advice import CREATE_AGAIN, Advice
from pipeline.doctor.check import CALL_SECONDS, Check, Finding, Shared, Status
from pipeline.doctor.permissions import (
    CONSUME,
    PUBLISH,
    ROLES,
    SEE_SUBSCRIPTION,
    SEE_TOPIC,
    Needs,
    Persona,
    grant,
    judge,
    needed,
)
from pipeline.resources.names import (
    DEAD_LETTER_HOLD_SUBSCRIPTION,
    DEAD_LETTER_TOPIC,
    PARKING_LOT_HOLD_SUBSCRIPTION,
    PARKING_LOT_TOPIC,
    SUBSCRIPTION,
    SUBSCRIPTION_TOPICS,
    TOPIC,
    TOPICS,
)

DELETED_TOPIC: Final = "_deleted-topic_"
"""Pub/Sub's name for the topic of a subscription whose topic was deleted."""

TOPIC_NEEDS: Final[Needs] = {
    TOPIC: {Persona.REPLAY: (PUBLISH,)},
    DEAD_LETTER_TOPIC: {Persona.PIPELINE: (PUBLISH, SEE_TOPIC)},
    PARKING_LOT_TOPIC: {Persona.REPLAY: (PUBLISH,)},
}
SUBSCRIPTION_NEEDS: Final[Needs] = {
    SUBSCRIPTION: {Persona.PIPELINE: (CONSUME, SEE_SUBSCRIPTION)},
    DEAD_LETTER_HOLD_SUBSCRIPTION: {Persona.REPLAY: (CONSUME, SEE_SUBSCRIPTION)},
    PARKING_LOT_HOLD_SUBSCRIPTION: {Persona.REPLAY: (CONSUME, SEE_SUBSCRIPTION)},
}


class PubSub:
    """The checks of a project's topics and subscriptions, on two shared connections."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._publisher: Shared[Any] = Shared(pubsub_v1.PublisherClient)
        self._subscriber: Shared[Any] = Shared(pubsub_v1.SubscriberClient)

    def close(self) -> None:
        """Close the connections."""
        self._publisher.close(lambda client: client.transport.close())
        self._subscriber.close(lambda client: client.close())

    def checks(self) -> Iterator[Check]:
        """Yield a check for each topic and subscription."""
        for topic in TOPICS:
            yield Check(f"topic {topic}", partial(self._look_at_topic, topic), self._advice(SEE_TOPIC))
        for name, topic in SUBSCRIPTION_TOPICS.items():
            yield Check(
                f"subscription {name}",
                partial(self._look_at_subscription, name, topic),
                self._advice(SEE_SUBSCRIPTION),
            )

    def permission_checks(self, persona: Persona) -> Iterator[Check]:
        """Yield a check for each topic and subscription that a persona needs permissions on."""
        for kind, client, needs in (
            ("topic", self._publisher, TOPIC_NEEDS),
            ("subscription", self._subscriber, SUBSCRIPTION_NEEDS),
        ):
            for name, wanted in needed(needs, persona).items():
                path = f"projects/{self._project}/{kind}s/{name}"
                yield Check(f"permissions on {kind} {name}", _permissions(client, path, wanted), self._advice(*wanted))

    def _advice(self, *permissions: str) -> Advice:
        role = " and ".join(dict.fromkeys(ROLES[permission] for permission in permissions))
        return Advice("Pub/Sub", "pubsub.googleapis.com", self._project, refused=grant(role), missing=CREATE_AGAIN)

    def _look_at_topic(self, topic: str) -> Finding:
        path = f"projects/{self._project}/topics/{topic}"
        self._publisher.get().get_topic(topic=path, retry=None, timeout=CALL_SECONDS)
        return Finding(Status.OK, "exists")

    def _look_at_subscription(self, name: str, topic: str) -> Finding:
        path = f"projects/{self._project}/subscriptions/{name}"
        found = self._subscriber.get().get_subscription(subscription=path, retry=None, timeout=CALL_SECONDS)
        return judge_subscription(
            path, found.topic, f"projects/{self._project}/topics/{topic}", is_detached=found.detached
        )


def judge_subscription(path: str, topic: str, expected: str, *, is_detached: bool) -> Finding:
    """Return whether a subscription belongs to its topic.

    Args:
        path: `projects/P/subscriptions/NAME`.
        topic: The topic that it belongs to, by Pub/Sub.
        expected: The topic that it should belong to.
        is_detached: Whether it was detached from its topic.
    """
    name, project = path.rsplit("/", 1)[1], path.split("/")[1]
    delete = f"gcloud pubsub subscriptions delete {name} --project {project}, and then {CREATE_AGAIN}"
    if topic == DELETED_TOPIC:
        return Finding(Status.FAILED, "its topic was deleted: it receives no messages", delete)
    if is_detached:
        return Finding(Status.FAILED, "it is detached from its topic: it receives no messages", delete)
    if topic != expected:
        return Finding(Status.FAILED, f"belongs to {topic}, not to {expected}", delete)
    return Finding(Status.OK, f"of topic {expected.rsplit('/', 1)[1]}")


def _permissions(client: Shared[Any], path: str, wanted: Sequence[str]) -> Callable[[], Finding]:
    def ask() -> Finding:
        request = {"resource": path, "permissions": list(wanted)}
        try:
            answer = client.get().test_iam_permissions(request=request, retry=None, timeout=CALL_SECONDS)
        except (api.MethodNotImplemented, api.NotFound):
            return judge(wanted, None)
        return judge(wanted, set(answer.permissions))

    return ask
