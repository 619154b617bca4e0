"""Snapshots: the acknowledgement state of a subscription, to seek to."""

from pipeline.local.pubsub.broker import DELETED_TOPIC, Broker, SnapshotState
from pipeline.local.pubsub.delivery import NANOS
from pipeline.local.pubsub.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from pipeline.local.pubsub.validation import check_name
from pipeline.local.pubsub.wire import CreateSnapshotRequest, Snapshot, Timestamp

LIFETIME_SECONDS = 7 * 86_400
MINIMUM_LIFETIME_SECONDS = 3600


def create_snapshot(broker: Broker, request: CreateSnapshotRequest) -> Snapshot:
    """Create a snapshot of a subscription's unacknowledged messages."""
    check_name(request.name, "snapshots")
    subscription = broker.subscription(request.subscription)
    expire(broker)
    if request.name in broker.snapshots:
        raise AlreadyExistsError(f"Snapshot already exists: {request.name}")
    if subscription.topic.is_deleted:
        raise FailedPreconditionError("The topic of the subscription is deleted.")
    now = broker.now()
    subscription.backlog.advance(now)
    messages = subscription.backlog.pending()
    oldest = messages[0].published_at if messages else now
    expires_at = oldest + LIFETIME_SECONDS * NANOS
    if expires_at - now < MINIMUM_LIFETIME_SECONDS * NANOS:
        raise FailedPreconditionError("The oldest message is too old: the snapshot would expire within an hour.")
    state = SnapshotState(request.name, subscription.topic, expires_at, messages, dict(request.labels))
    broker.snapshots[state.name] = subscription.topic.snapshots[state.name] = state
    return resource_of(state)


def find(broker: Broker, name: str) -> SnapshotState:
    """Return a snapshot that has not expired."""
    expire(broker)
    state = broker.snapshots.get(name)
    if state is None:
        check_name(name, "snapshots")
        raise NotFoundError(f"Snapshot does not exist: {name}")
    return state


def delete_snapshot(broker: Broker, name: str) -> None:
    """Delete a snapshot."""
    _drop(broker, find(broker, name))


def seek_to_snapshot(broker: Broker, subscription: str, snapshot: str) -> None:
    """Restore a subscription to a snapshot of the same topic."""
    target = broker.subscription(subscription)
    state = find(broker, snapshot)
    if state.topic is not target.topic:
        raise FailedPreconditionError(
            f"The subscription's topic {target.resource.topic} is different from that of the snapshot."
        )
    target.backlog.restore(state.messages, broker.now())


def expire(broker: Broker) -> None:
    """Delete expired snapshots."""
    now = broker.now()
    for state in [state for state in broker.snapshots.values() if state.expires_at <= now]:
        _drop(broker, state)


def resource_of(state: SnapshotState) -> Snapshot:
    """Return a snapshot as a resource of the API."""
    topic = DELETED_TOPIC if state.topic.is_deleted else state.topic.resource.name
    expire_time = Timestamp()
    expire_time.FromNanoseconds(state.expires_at)
    return Snapshot(name=state.name, topic=topic, expire_time=expire_time, labels=state.labels)


def _drop(broker: Broker, state: SnapshotState) -> None:
    del broker.snapshots[state.name]
    state.topic.snapshots.pop(state.name, None)
