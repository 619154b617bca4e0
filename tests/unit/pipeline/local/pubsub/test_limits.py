"""Pub/Sub's documented limits: names, messages, settings and update masks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.pubsub.errors import InvalidArgumentError, OutOfRangeError, PubSubError, UnimplementedError
from pipeline.local.pubsub.paging import page_of
from pipeline.local.pubsub.validation import (
    check_lease,
    check_messages,
    check_name,
    check_project,
    check_stream_deadline,
    merge_subscription,
    merge_topic,
    valid_subscription,
    valid_topic,
)
from pipeline.local.pubsub.wire import (
    DeadLetterPolicy,
    Duration,
    FieldMask,
    ListTopicsRequest,
    PubsubMessage,
    PushConfig,
    RetryPolicy,
    Subscription,
    Topic,
)
from tests.unit.pipeline.local.pubsub.samples import DEAD_LETTER_TOPIC, SUBSCRIPTION, TOPIC, retry_policy


@pytest.mark.parametrize(
    "name",
    [
        "projects/demo-project/topics/abc",
        "projects/example.com:demo/topics/a.b_c~d+e%f-1",
        "projects/demo-project/topics/" + "x" * 255,
    ],
)
def test_documented_names_are_accepted(name: str) -> None:
    """Letters, digits and . _ ~ + % - make a resource id of 3 to 255 characters."""
    check_name(name, "topics")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "changes",
        "projects/demo/topics/changes",
        "projects/demo-project/subscriptions/changes",
        "projects/demo-project/topics/ab",
        "projects/demo-project/topics/1changes",
        "projects/demo-project/topics/googchanges",
        "projects/demo-project/topics/cha nges",
        "projects/demo-project/topics/changes/",
        "projects/demo-project/topics/changes\n",
        "projects/demo-project/topics/" + "x" * 256,
    ],
)
def test_other_names_are_refused(name: str) -> None:
    """A malformed resource name is INVALID_ARGUMENT, and the message names it."""
    with pytest.raises(InvalidArgumentError, match="name"):
        check_name(name, "topics")


@pytest.mark.parametrize("name", ["demo-project", "projects/demo", "projects/", "projects/Demo-project"])
def test_malformed_project_is_refused(name: str) -> None:
    """A listing names its project in full."""
    with pytest.raises(InvalidArgumentError, match="project"):
        check_project(name)


@pytest.mark.parametrize(
    "message",
    [
        PubsubMessage(data=b"x"),
        PubsubMessage(attributes={"k": ""}),
        PubsubMessage(data=b"x" * 10_000_000),
        PubsubMessage(data=b"x", attributes={f"k{i}": "v" for i in range(100)}),
        PubsubMessage(data=b"x", attributes={"ü" * 128: "ü" * 512}),
        PubsubMessage(data=b"x", ordering_key="ü" * 512),
    ],
    ids=["data", "attribute", "10 MB", "100 attributes", "long attribute", "long ordering key"],
)
def test_message_at_the_limit_is_accepted(message: PubsubMessage) -> None:
    """A message at each limit, counted in bytes, is accepted."""
    check_messages([message])


@pytest.mark.parametrize(
    "message",
    [
        PubsubMessage(),
        PubsubMessage(ordering_key="k"),
        PubsubMessage(data=b"x" * 10_000_001),
        PubsubMessage(data=b"x", attributes={f"k{i}": "v" for i in range(101)}),
        PubsubMessage(data=b"x", attributes={"": "v"}),
        PubsubMessage(data=b"x", attributes={"ü" * 129: "v"}),
        PubsubMessage(data=b"x", attributes={"k": "ü" * 513}),
        PubsubMessage(data=b"x", attributes={"google": "v"}),
        PubsubMessage(data=b"x", ordering_key="ü" * 513),
    ],
    ids=["empty", "key only", "10 MB", "attributes", "no key", "long key", "long value", "goog", "long ordering key"],
)
def test_message_past_a_limit_refuses_the_whole_request(message: PubsubMessage) -> None:
    """One message that exceeds a limit refuses the whole request."""
    with pytest.raises(InvalidArgumentError):
        check_messages([PubsubMessage(data=b"fine"), message])


def test_request_has_limits_of_its_own() -> None:
    """A publish request has 1 to 1,000 messages and 10 MB together."""
    check_messages([PubsubMessage(data=b"x")] * 1000)
    for messages in ([], [PubsubMessage(data=b"x")] * 1001, [PubsubMessage(data=b"x" * 6_000_000)] * 2):
        with pytest.raises(InvalidArgumentError):
            check_messages(messages)


def test_subscription_gets_the_documented_defaults() -> None:
    """Ten seconds to acknowledge, seven days of retention, five attempts, and backoff between 10 s and 600 s."""
    subscription = Subscription(name=SUBSCRIPTION, topic=TOPIC, retry_policy=RetryPolicy())
    subscription.dead_letter_policy.dead_letter_topic = DEAD_LETTER_TOPIC
    valid = valid_subscription(subscription)
    assert valid.ack_deadline_seconds == 10
    assert valid.message_retention_duration.seconds == 7 * 86_400
    assert valid.dead_letter_policy.max_delivery_attempts == 5
    assert valid.retry_policy.minimum_backoff.seconds == 10
    assert valid.retry_policy.maximum_backoff.seconds == 600
    assert subscription.ack_deadline_seconds == 0, "the request itself is left alone"


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"ack_deadline_seconds": 9}, InvalidArgumentError),
        ({"ack_deadline_seconds": 601}, InvalidArgumentError),
        ({"message_retention_duration": Duration(seconds=599)}, InvalidArgumentError),
        ({"message_retention_duration": Duration(seconds=31 * 86_400 + 1)}, InvalidArgumentError),
        ({"retry_policy": retry_policy(1, 601)}, InvalidArgumentError),
        ({"retry_policy": retry_policy(20, 10)}, InvalidArgumentError),
        ({"dead_letter_policy": DeadLetterPolicy(dead_letter_topic="changes")}, InvalidArgumentError),
        (
            {"dead_letter_policy": DeadLetterPolicy(dead_letter_topic=TOPIC, max_delivery_attempts=4)},
            OutOfRangeError,
        ),
        (
            {"dead_letter_policy": DeadLetterPolicy(dead_letter_topic=TOPIC, max_delivery_attempts=101)},
            OutOfRangeError,
        ),
        ({"filter": 'attributes.entity = "Account"'}, UnimplementedError),
        ({"push_config": PushConfig(push_endpoint="http://localhost:1")}, UnimplementedError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_setting_out_of_bounds_is_refused(setting: dict[str, object], error: type[PubSubError]) -> None:
    """A subscription is refused for a setting out of its bounds, or that the broker would not honour."""
    with pytest.raises(error):
        valid_subscription(Subscription(name=SUBSCRIPTION, topic=TOPIC, **setting))


def test_topic_settings_that_are_not_honoured_are_refused() -> None:
    """A topic with a schema is refused rather than left unchecked; retention has its bounds."""
    with_schema = Topic(name=TOPIC)
    with_schema.schema_settings.schema = "projects/demo-project/schemas/change"
    with pytest.raises(UnimplementedError, match="schema_settings"):
        valid_topic(with_schema)
    with pytest.raises(InvalidArgumentError, match="retention"):
        valid_topic(Topic(name=TOPIC, message_retention_duration=Duration(seconds=1)))


def test_update_replaces_masked_fields_only() -> None:
    """An update takes the masked fields, empty ones included, and leaves the others."""
    stored = valid_subscription(
        Subscription(name=SUBSCRIPTION, topic=TOPIC, ack_deadline_seconds=20, labels={"team": "revops", "env": "dev"})
    )
    stored.dead_letter_policy.CopyFrom(DeadLetterPolicy(dead_letter_topic=TOPIC, max_delivery_attempts=5))
    update = Subscription(name=SUBSCRIPTION, ack_deadline_seconds=99, labels={"env": "test"})
    merged = merge_subscription(stored, update, FieldMask(paths=["labels", "dead_letter_policy"]))
    assert dict(merged.labels) == {"env": "test"}
    assert not merged.HasField("dead_letter_policy")
    assert merged.ack_deadline_seconds == 20


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (None, InvalidArgumentError),
        ("name", InvalidArgumentError),
        ("topic", InvalidArgumentError),
        ("filter", InvalidArgumentError),
        ("enable_message_ordering", InvalidArgumentError),
        ("no_such_field", InvalidArgumentError),
        ("push_config", UnimplementedError),
    ],
)
def test_update_of_what_cannot_change_is_refused(path: str | None, error: type[PubSubError]) -> None:
    """An update names fields that exist and may change, one at least."""
    stored = valid_subscription(Subscription(name=SUBSCRIPTION, topic=TOPIC))
    with pytest.raises(error):
        merge_subscription(stored, stored, FieldMask(paths=[path] if path else []))
    if path != "push_config":
        with pytest.raises(InvalidArgumentError):
            merge_topic(Topic(name=TOPIC), Topic(name=TOPIC), FieldMask(paths=[path] if path else []))


def test_updated_resource_obeys_the_limits_too() -> None:
    """An update can't set what a creation could not."""
    stored = valid_subscription(Subscription(name=SUBSCRIPTION, topic=TOPIC))
    update = Subscription(name=SUBSCRIPTION, ack_deadline_seconds=5)
    with pytest.raises(InvalidArgumentError, match="ack_deadline_seconds"):
        merge_subscription(stored, update, FieldMask(paths=["ack_deadline_seconds"]))


def test_lease_bounds() -> None:
    """A lease is set to 0 to 600 seconds by a call, to 10 to 600 seconds by a stream."""
    for seconds in (0, 600):
        check_lease(seconds)
    for seconds in (10, 600):
        check_stream_deadline(seconds)
    for seconds in (-1, 601):
        with pytest.raises(InvalidArgumentError):
            check_lease(seconds)
    for seconds in (9, 601):
        with pytest.raises(InvalidArgumentError):
            check_stream_deadline(seconds)


@given(st.sets(st.text("abc", min_size=1, max_size=4)), st.integers(1, 5))
def test_pages_add_up_to_the_whole_listing(names: set[str], page_size: int) -> None:
    """Following the tokens shows every name exactly once, in order, and no page is larger than asked for."""
    seen: list[str] = []
    token = ""
    while True:
        page, token = page_of(names, ListTopicsRequest(page_size=page_size, page_token=token))
        assert len(page) <= page_size
        seen += page
        if not token:
            break
    assert seen == sorted(names)


def test_negative_page_size_is_refused() -> None:
    """A page has no negative size."""
    with pytest.raises(InvalidArgumentError):
        page_of([], ListTopicsRequest(page_size=-1))
