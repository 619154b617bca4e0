"""google.pubsub.v1.Publisher: requests in, responses out, on the broker's resources."""

from pipeline.local.pubsub import snapshots
from pipeline.local.pubsub.broker import Broker
from pipeline.local.pubsub.errors import UnimplementedError
from pipeline.local.pubsub.paging import page_of
from pipeline.local.pubsub.validation import check_project
from pipeline.local.pubsub.wire import (
    DeleteTopicRequest,
    DetachSubscriptionRequest,
    DetachSubscriptionResponse,
    Empty,
    GetTopicRequest,
    ListTopicSnapshotsRequest,
    ListTopicSnapshotsResponse,
    ListTopicsRequest,
    ListTopicsResponse,
    ListTopicSubscriptionsRequest,
    ListTopicSubscriptionsResponse,
    PublishRequest,
    PublishResponse,
    Topic,
    UpdateTopicRequest,
)


class Publisher:
    """The methods of the service, by the names of the API in lower case."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_topic(self, request: Topic) -> Topic:
        """Create a topic."""
        return self._broker.create_topic(request)

    def get_topic(self, request: GetTopicRequest) -> Topic:
        """Show a topic."""
        return self._broker.topic(request.topic).resource

    def list_topics(self, request: ListTopicsRequest) -> ListTopicsResponse:
        """Show a project's topics, a page at a time."""
        check_project(request.project)
        names = (name for name in self._broker.topics if name.startswith(f"{request.project}/"))
        page, next_page_token = page_of(names, request.page_size, request.page_token)
        topics = [self._broker.topics[name].resource for name in page]
        return ListTopicsResponse(topics=topics, next_page_token=next_page_token)

    def list_topic_subscriptions(self, request: ListTopicSubscriptionsRequest) -> ListTopicSubscriptionsResponse:
        """Name a topic's subscriptions, a page at a time."""
        names = self._broker.topic(request.topic).subscriptions
        page, next_page_token = page_of(names, request.page_size, request.page_token)
        return ListTopicSubscriptionsResponse(subscriptions=page, next_page_token=next_page_token)

    def list_topic_snapshots(self, request: ListTopicSnapshotsRequest) -> ListTopicSnapshotsResponse:
        """Name a topic's snapshots, a page at a time."""
        snapshots.expire(self._broker)
        names = self._broker.topic(request.topic).snapshots
        page, next_page_token = page_of(names, request.page_size, request.page_token)
        return ListTopicSnapshotsResponse(snapshots=page, next_page_token=next_page_token)

    def update_topic(self, request: UpdateTopicRequest) -> Topic:
        """Replace the masked fields of a topic."""
        return self._broker.update_topic(request.topic, request.update_mask)

    def delete_topic(self, request: DeleteTopicRequest) -> Empty:
        """Delete a topic."""
        self._broker.delete_topic(request.topic)
        return Empty()

    def publish(self, request: PublishRequest) -> PublishResponse:
        """Accept messages, all or none."""
        return PublishResponse(message_ids=self._broker.publish(request.topic, request.messages))

    def detach_subscription(self, _request: DetachSubscriptionRequest) -> DetachSubscriptionResponse:
        """Refuse: nothing here detaches."""
        raise UnimplementedError("This broker does not implement DetachSubscription.")
