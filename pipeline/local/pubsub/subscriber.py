"""The methods of google.pubsub.v1.Subscriber, except StreamingPull, see `streams`."""

from pipeline.local.pubsub import snapshots, streams, wire
from pipeline.local.pubsub.arrivals import Arrivals
from pipeline.local.pubsub.broker import Broker
from pipeline.local.pubsub.errors import InvalidArgumentError
from pipeline.local.pubsub.paging import page_of_project


class Subscriber:
    """The methods by their API names in snake case; the annotations name the message classes."""

    def __init__(self, broker: Broker, arrivals: Arrivals) -> None:
        self._broker = broker
        self._arrivals = arrivals

    def create_subscription(self, request: wire.Subscription) -> wire.Subscription:
        """Create a subscription."""
        return self._broker.create_subscription(request)

    def get_subscription(self, request: wire.GetSubscriptionRequest) -> wire.Subscription:
        """Return a subscription."""
        return self._broker.subscription(request.subscription).resource

    def list_subscriptions(self, request: wire.ListSubscriptionsRequest) -> wire.ListSubscriptionsResponse:
        """Return a page of a project's subscriptions."""
        page, next_page_token = page_of_project(self._broker.subscriptions, request)
        subscriptions = [self._broker.subscriptions[name].resource for name in page]
        return wire.ListSubscriptionsResponse(subscriptions=subscriptions, next_page_token=next_page_token)

    def update_subscription(self, request: wire.UpdateSubscriptionRequest) -> wire.Subscription:
        """Replace the masked fields of a subscription."""
        return self._broker.update_subscription(request.subscription, request.update_mask)

    def delete_subscription(self, request: wire.DeleteSubscriptionRequest) -> wire.Empty:
        """Delete a subscription."""
        self._broker.delete_subscription(request.subscription)
        return wire.Empty()

    async def pull(self, request: wire.PullRequest) -> wire.PullResponse:
        """Return messages; wait a moment if there are none."""
        return await streams.pull(self._broker, self._arrivals, request)

    def acknowledge(self, request: wire.AcknowledgeRequest) -> wire.Empty:
        """Acknowledge deliveries."""
        if not request.ack_ids:
            raise InvalidArgumentError("No ack ids specified.")
        self._broker.acknowledge(request.subscription, request.ack_ids)
        return wire.Empty()

    def modify_ack_deadline(self, request: wire.ModifyAckDeadlineRequest) -> wire.Empty:
        """Extend ack deadlines; a deadline of zero is a nack."""
        if not request.ack_ids:
            raise InvalidArgumentError("No ack ids specified.")
        self._broker.modify_ack_deadline(request.subscription, request.ack_ids, request.ack_deadline_seconds)
        return wire.Empty()

    def seek(self, request: wire.SeekRequest) -> wire.SeekResponse:
        """Seek to a time or to a snapshot."""
        target = request.WhichOneof("target")
        if target is None:
            raise InvalidArgumentError("No target was specified: set either a time or a snapshot.")
        if target == "time":
            self._broker.seek_to_time(request.subscription, request.time.ToNanoseconds())
        else:
            snapshots.seek_to_snapshot(self._broker, request.subscription, request.snapshot)
        return wire.SeekResponse()

    def create_snapshot(self, request: wire.CreateSnapshotRequest) -> wire.Snapshot:
        """Create a snapshot of a subscription's unacknowledged messages."""
        return snapshots.create_snapshot(self._broker, request)

    def get_snapshot(self, request: wire.GetSnapshotRequest) -> wire.Snapshot:
        """Return a snapshot."""
        return snapshots.resource_of(snapshots.find(self._broker, request.snapshot))

    def list_snapshots(self, request: wire.ListSnapshotsRequest) -> wire.ListSnapshotsResponse:
        """Return a page of a project's snapshots."""
        snapshots.expire(self._broker)
        page, next_page_token = page_of_project(self._broker.snapshots, request)
        found = [snapshots.resource_of(self._broker.snapshots[name]) for name in page]
        return wire.ListSnapshotsResponse(snapshots=found, next_page_token=next_page_token)

    def delete_snapshot(self, request: wire.DeleteSnapshotRequest) -> wire.Empty:
        """Delete a snapshot."""
        snapshots.delete_snapshot(self._broker, request.snapshot)
        return wire.Empty()
