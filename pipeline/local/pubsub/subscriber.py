"""The methods of google.pubsub.v1.Subscriber, except Pull and StreamingPull, see `streams`."""

from pipeline.local.pubsub import snapshots
from pipeline.local.pubsub.broker import Broker
from pipeline.local.pubsub.errors import InvalidArgumentError
from pipeline.local.pubsub.paging import page_of
from pipeline.local.pubsub.validation import check_project
from pipeline.local.pubsub.wire import (
    AcknowledgeRequest,
    CreateSnapshotRequest,
    DeleteSnapshotRequest,
    DeleteSubscriptionRequest,
    Empty,
    GetSnapshotRequest,
    GetSubscriptionRequest,
    ListSnapshotsRequest,
    ListSnapshotsResponse,
    ListSubscriptionsRequest,
    ListSubscriptionsResponse,
    ModifyAckDeadlineRequest,
    SeekRequest,
    SeekResponse,
    Snapshot,
    Subscription,
    UpdateSubscriptionRequest,
)


class Subscriber:
    """The methods by their API names in snake case; the annotations name the message classes."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_subscription(self, request: Subscription) -> Subscription:
        """Create a subscription."""
        return self._broker.create_subscription(request)

    def get_subscription(self, request: GetSubscriptionRequest) -> Subscription:
        """Return a subscription."""
        return self._broker.subscription(request.subscription).resource

    def list_subscriptions(self, request: ListSubscriptionsRequest) -> ListSubscriptionsResponse:
        """Return a page of a project's subscriptions."""
        check_project(request.project)
        names = (name for name in self._broker.subscriptions if name.startswith(f"{request.project}/"))
        page, next_page_token = page_of(names, request.page_size, request.page_token)
        subscriptions = [self._broker.subscriptions[name].resource for name in page]
        return ListSubscriptionsResponse(subscriptions=subscriptions, next_page_token=next_page_token)

    def update_subscription(self, request: UpdateSubscriptionRequest) -> Subscription:
        """Replace the masked fields of a subscription."""
        return self._broker.update_subscription(request.subscription, request.update_mask)

    def delete_subscription(self, request: DeleteSubscriptionRequest) -> Empty:
        """Delete a subscription."""
        self._broker.delete_subscription(request.subscription)
        return Empty()

    def acknowledge(self, request: AcknowledgeRequest) -> Empty:
        """Acknowledge deliveries."""
        if not request.ack_ids:
            raise InvalidArgumentError("No ack ids specified.")
        self._broker.acknowledge(request.subscription, request.ack_ids)
        return Empty()

    def modify_ack_deadline(self, request: ModifyAckDeadlineRequest) -> Empty:
        """Extend ack deadlines; a deadline of zero is a nack."""
        if not request.ack_ids:
            raise InvalidArgumentError("No ack ids specified.")
        self._broker.modify_ack_deadline(request.subscription, request.ack_ids, request.ack_deadline_seconds)
        return Empty()

    def seek(self, request: SeekRequest) -> SeekResponse:
        """Seek to a time or to a snapshot."""
        target = request.WhichOneof("target")
        if target is None:
            raise InvalidArgumentError("No target was specified: set either a time or a snapshot.")
        if target == "time":
            self._broker.seek_to_time(request.subscription, request.time.ToNanoseconds())
        else:
            snapshots.seek_to_snapshot(self._broker, request.subscription, request.snapshot)
        return SeekResponse()

    def create_snapshot(self, request: CreateSnapshotRequest) -> Snapshot:
        """Create a snapshot of a subscription's unacknowledged messages."""
        return snapshots.create_snapshot(self._broker, request)

    def get_snapshot(self, request: GetSnapshotRequest) -> Snapshot:
        """Return a snapshot."""
        return snapshots.resource_of(snapshots.find(self._broker, request.snapshot))

    def list_snapshots(self, request: ListSnapshotsRequest) -> ListSnapshotsResponse:
        """Return a page of a project's snapshots."""
        check_project(request.project)
        snapshots.expire(self._broker)
        names = (name for name in self._broker.snapshots if name.startswith(f"{request.project}/"))
        page, next_page_token = page_of(names, request.page_size, request.page_token)
        found = [snapshots.resource_of(self._broker.snapshots[name]) for name in page]
        return ListSnapshotsResponse(snapshots=found, next_page_token=next_page_token)

    def delete_snapshot(self, request: DeleteSnapshotRequest) -> Empty:
        """Delete a snapshot."""
        snapshots.delete_snapshot(self._broker, request.snapshot)
        return Empty()
