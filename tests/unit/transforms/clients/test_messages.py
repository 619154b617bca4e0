"""Messages are split into requests within Pub/Sub's limits."""

from hypothesis import given
from hypothesis import strategies as st

from transforms.clients.messages import MAX_REQUEST_BYTES, MAX_REQUEST_MESSAGES, Message, publish_requests


@given(st.lists(st.sampled_from([1, 1_000, MAX_REQUEST_BYTES // 3, MAX_REQUEST_BYTES]), max_size=12))
def test_requests_have_every_message_in_order_within_the_limit_of_bytes(sizes: list[int]) -> None:
    """A message over the limit has a request of its own."""
    bodies = {size: bytes(size) for size in set(sizes)}
    messages = [Message(bodies[size], {"number": str(number)}) for number, size in enumerate(sizes)]
    requests = publish_requests(messages)
    assert [message for request in requests for message in request] == messages
    for request in requests:
        assert len(request) == 1 or sum(message.size for message in request) <= MAX_REQUEST_BYTES


def test_a_request_has_a_thousand_messages_at_most() -> None:
    """Pub/Sub refuses more."""
    requests = publish_requests([Message(b"x")] * (MAX_REQUEST_MESSAGES * 2 + 1))
    assert [len(request) for request in requests] == [MAX_REQUEST_MESSAGES, MAX_REQUEST_MESSAGES, 1]
