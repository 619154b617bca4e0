"""Requests that Pub/Sub takes."""

from hypothesis import given
from hypothesis import strategies as st

from transforms.clients.pubsub import MAX_REQUEST_BYTES, MAX_REQUEST_MESSAGES, Message, publish_requests


@given(st.lists(st.sampled_from([1, 1_000, MAX_REQUEST_BYTES // 3, MAX_REQUEST_BYTES]), max_size=12))
def test_requests_hold_every_message_in_order_and_no_more_than_they_may(sizes: list[int]) -> None:
    """One that is as large as a request goes alone."""
    bodies = {size: bytes(size) for size in set(sizes)}
    messages = [Message(bodies[size], {"number": str(number)}) for number, size in enumerate(sizes)]
    requests = list(publish_requests(messages))
    assert [message for request in requests for message in request] == messages
    for request in requests:
        assert len(request) == 1 or sum(message.size for message in request) <= MAX_REQUEST_BYTES


def test_a_request_has_a_thousand_messages_at_most() -> None:
    """Pub/Sub refuses more."""
    requests = list(publish_requests([Message(b"x")] * (MAX_REQUEST_MESSAGES * 2 + 1)))
    assert [len(request) for request in requests] == [MAX_REQUEST_MESSAGES, MAX_REQUEST_MESSAGES, 1]
