"""The methods of google.pubsub.v1.Publisher."""

from pipeline.local.pubsub import snapshots, wire
from pipeline.local.pubsub.broker import Broker
from pipeline.local.pubsub.paging import page_of, page_of_project


class Publisher:
    """The methods by their API names in snake case; the annotations name the message classes."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_topic(self, request: wire.Topic) -> wire.Topic:
        """Create a topic."""
        return self._broker.create_topic(request)

    def get_topic(self, request: wire.GetTopicRequest) -> wire.Topic:
        """Return a topic."""
        return self._broker.topic(request.topic).resource

    def list_topics(self, request: wire.ListTopicsRequest) -> wire.ListTopicsResponse:
        """Return a page of a project's topics."""
        page, next_page_token = page_of_project(self._broker.topics, request)
        topics = [self._broker.topics[name].resource for name in page]
        return wire.ListTopicsResponse(topics=topics, next_page_token=next_page_token)

    def list_topic_subscriptions(
        self, request: wire.ListTopicSubscriptionsRequest
    ) -> wire.ListTopicSubscriptionsResponse:
        """Return a page of the names of a topic's subscriptions."""
        names = self._broker.topic(request.topic).subscriptions
        page, next_page_token = page_of(names, request)
        return wire.ListTopicSubscriptionsResponse(subscriptions=page, next_page_token=next_page_token)

    def list_topic_snapshots(self, request: wire.ListTopicSnapshotsRequest) -> wire.ListTopicSnapshotsResponse:
        """Return a page of the names of a topic's snapshots."""
        snapshots.expire(self._broker)
        names = self._broker.topic(request.topic).snapshots
        page, next_page_token = page_of(names, request)
        return wire.ListTopicSnapshotsResponse(snapshots=page, next_page_token=next_page_token)

    def update_topic(self, request: wire.UpdateTopicRequest) -> wire.Topic:
        """Replace the masked fields of a topic."""
        return self._broker.update_topic(request.topic, request.update_mask)

    def delete_topic(self, request: wire.DeleteTopicRequest) -> wire.Empty:
        """Delete a topic."""
        self._broker.delete_topic(request.topic)
        return wire.Empty()

    def publish(self, request: wire.PublishRequest) -> wire.PublishResponse:
        """Publish messages, all or none."""
        return wire.PublishResponse(message_ids=self._broker.publish(request.topic, request.messages))
