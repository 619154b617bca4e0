"""The methods of google.pubsub.v1.Publisher."""

from pipeline.local.pubsub import snapshots
from pipeline.local.pubsub.broker import Broker
from pipeline.local.pubsub.paging import page_of
from pipeline.local.pubsub.validation import check_project
from pipeline.local.pubsub.wire import (
    DeleteTopicRequest,
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
    """The methods by their API names in snake case; the annotations name the message classes."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_topic(self, request: Topic) -> Topic:
        """Create a topic."""
        return self._broker.create_topic(request)

    def get_topic(self, request: GetTopicRequest) -> Topic:
        """Return a topic."""
        return self._broker.topic(request.topic).resource

    def list_topics(self, request: ListTopicsRequest) -> ListTopicsResponse:
        """Return a page of a project's topics."""
        check_project(request.project)
        names = (name for name in self._broker.topics if name.startswith(f"{request.project}/"))
        page, next_page_token = page_of(names, request.page_size, request.page_token)
        topics = [self._broker.topics[name].resource for name in page]
        return ListTopicsResponse(topics=topics, next_page_token=next_page_token)

    def list_topic_subscriptions(self, request: ListTopicSubscriptionsRequest) -> ListTopicSubscriptionsResponse:
        """Return a page of the names of a topic's subscriptions."""
        names = self._broker.topic(request.topic).subscriptions
        page, next_page_token = page_of(names, request.page_size, request.page_token)
        return ListTopicSubscriptionsResponse(subscriptions=page, next_page_token=next_page_token)

    def list_topic_snapshots(self, request: ListTopicSnapshotsRequest) -> ListTopicSnapshotsResponse:
        """Return a page of the names of a topic's snapshots."""
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
        """Publish messages, all or none."""
        return PublishResponse(message_ids=self._broker.publish(request.topic, request.messages))
