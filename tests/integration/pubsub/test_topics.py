from collections.abc import Callable

import pytest
from google.api_core import exceptions
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]  # protobuf ships no annotations
from google.protobuf.field_mask_pb2 import FieldMask  # type: ignore[import-untyped]  # the same

from tests.integration.pubsub_targets import PROJECT, Target


def test_topic_is_created_found_listed_and_deleted(target: Target) -> None:
    """A topic exists from its creation to its deletion."""
    topic = target.topic(labels={"team": "revops"})
    assert dict(target.publisher.get_topic(topic=topic).labels) == {"team": "revops"}
    assert topic in {listed.name for listed in target.publisher.list_topics(project=PROJECT)}
    target.publisher.delete_topic(topic=topic)
    assert topic not in {listed.name for listed in target.publisher.list_topics(project=PROJECT)}
    for call in (target.publisher.get_topic, target.publisher.delete_topic):
        with pytest.raises(exceptions.NotFound):
            call(topic=topic)


def test_topic_name_is_taken_once(target: Target) -> None:
    """A second topic of the same name already exists."""
    topic = target.topic()
    with pytest.raises(exceptions.AlreadyExists):
        target.publisher.create_topic(name=topic)


@pytest.mark.parametrize(
    "name", ["changes", f"{PROJECT}/topics/ab", f"{PROJECT}/topics/1abc", f"{PROJECT}/topics/googl"]
)
def test_malformed_topic_name_is_refused(target: Target, name: str) -> None:
    """A topic name without the documented form is refused."""
    with pytest.raises(exceptions.InvalidArgument):
        target.publisher.create_topic(name=name)


def test_listing_comes_in_pages(target: Target) -> None:
    """A client that asks for small pages sees every topic once."""
    topics = {target.topic() for _ in range(5)}
    request = {"project": PROJECT, "page_size": 2}
    listed = [topic.name for topic in target.publisher.list_topics(request=request)]
    assert topics <= set(listed)
    assert len(listed) == len(set(listed))


def test_topic_names_its_subscriptions(target: Target) -> None:
    """A topic lists its subscriptions without deleted ones."""
    topic = target.topic()
    first, second = target.subscription(topic), target.subscription(topic)
    assert set(target.publisher.list_topic_subscriptions(topic=topic)) == {first, second}
    target.subscriber.delete_subscription(subscription=first)
    assert list(target.publisher.list_topic_subscriptions(topic=topic)) == [second]


def test_topic_retention_is_updated(target: Target) -> None:
    """An update of the masked retention is shown afterwards."""
    topic = target.topic()
    update = {"name": topic, "message_retention_duration": Duration(seconds=1200)}
    target.publisher.update_topic(topic=update, update_mask=FieldMask(paths=["message_retention_duration"]))
    assert target.publisher.get_topic(topic=topic).message_retention_duration.total_seconds() == 1200


def test_labels_are_updated(target: Target, google_deviates: Callable[[str], None]) -> None:
    """An update of the masked labels replaces them."""
    google_deviates("knows no field called labels in update masks")
    topic = target.topic(labels={"a": "b"})
    target.publisher.update_topic(topic={"name": topic, "labels": {"c": "d"}}, update_mask=FieldMask(paths=["labels"]))
    assert dict(target.publisher.get_topic(topic=topic).labels) == {"c": "d"}


@pytest.mark.parametrize("paths", [[], ["name"], ["no_such_field"]])
def test_topic_update_names_fields_that_change(target: Target, paths: list[str]) -> None:
    """An update mask that is empty or names an immutable field is refused."""
    topic = target.topic()
    with pytest.raises(exceptions.InvalidArgument):
        target.publisher.update_topic(topic={"name": topic}, update_mask=FieldMask(paths=paths))
