"""Publish messages to Pub/Sub and wait for their ids.

Requests are used instead of the client's batching, which takes attributes as keywords: attributes named `timeout`,
`retry`, `ordering_key`, `topic` or `data` would be lost or refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.types import PubsubMessage

from transforms.clients.messages import Message, publish_requests

CALL_TIMEOUT_SECONDS: Final = 30.0
RETRY_DEADLINE_SECONDS: Final = 60.0

PATIENCE_SECONDS: Final = 8.0
"""For a call of a command, with its retries: a person waits for it."""

COMMAND_RETRY: Final = Retry(timeout=PATIENCE_SECONDS)

_REMEDIES: Final[Mapping[int | None, str]] = {
    HTTPStatus.BAD_REQUEST: "Pub/Sub does not accept this name, or what was sent there: check its spelling",
    HTTPStatus.NOT_FOUND: "it does not exist: name another, or create it with terraform apply in infrastructure",
    HTTPStatus.FORBIDDEN: "these credentials may not use it: grant them the roles that rescore doctor names",
}


_NO_SNAPSHOT: Final = "it does not exist: snapshots expire after 7 days; gcloud pubsub snapshots list has the others"


class PubSubUnavailable(RuntimeError):
    """Pub/Sub did not answer a command, or refused; the cause is the client's error."""


@contextmanager
def pubsub_calls(resource: str) -> Iterator[None]:
    """Map the client's errors in a command's calls.

    Args:
        resource: The topic, subscription or snapshot, for the message.

    Raises:
        PubSubUnavailable: A call failed.
    """
    try:
        yield
    except (api.GoogleAPIError, GoogleAuthError) as error:
        raise PubSubUnavailable(f"Pub/Sub: {resource}: {_reason(error, resource)}") from error


def _reason(error: Exception, resource: str) -> str:
    cause = (error.cause if isinstance(error, api.RetryError) else None) or error
    status = getattr(cause, "code", None)
    if status == HTTPStatus.NOT_FOUND and "/snapshots/" in resource:
        return _NO_SNAPSHOT
    return _REMEDIES.get(status) or f"{type(cause).__name__}{f' {int(status)}' if status else ''}"


class MessagePublisher:
    """A connection to Pub/Sub; calls end within a deadline, or raise GoogleAPIError.

    Args:
        call_seconds: For one call.
        retry_seconds: For a call with its retries.
    """

    def __init__(
        self, *, call_seconds: float = CALL_TIMEOUT_SECONDS, retry_seconds: float = RETRY_DEADLINE_SECONDS
    ) -> None:
        self._call_seconds = call_seconds
        self._retry = Retry(timeout=retry_seconds)
        # This class honours PUBSUB_EMULATOR_HOST; the class that it extends has the request API.
        self._client = pubsub_v1.PublisherClient()

    @classmethod
    def for_command(cls) -> "MessagePublisher":
        """Return a connection whose calls end while a person waits."""
        return cls(call_seconds=PATIENCE_SECONDS, retry_seconds=PATIENCE_SECONDS)

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Publish messages and return their ids, in order, once Pub/Sub has accepted all.

        Raises:
            google.api_core.exceptions.GoogleAPIError: Not all were accepted; some may be published.
        """
        ids: list[str] = []
        for part in publish_requests(messages):
            wire = [PubsubMessage(data=message.payload, attributes=message.attributes) for message in part]
            request: dict[str, Any] = {"topic": topic, "messages": wire}
            response = PublisherClient.publish(
                self._client,
                request=request,
                retry=self._retry,
                timeout=self._call_seconds,
            )
            ids += response.message_ids
        return ids

    def close(self) -> None:
        """Close the connection."""
        self._client.stop()
        self._client.transport.close()
