"""Whether a subscription can be read, or a topic is there, before a command starts to use it."""

import google.auth
from google.api_core.exceptions import PermissionDenied
from google.cloud import pubsub_v1

from transforms.clients.access_tokens import SCOPE
from transforms.clients.pubsub import COMMAND_RETRY, PATIENCE_SECONDS, pubsub_calls


def check_subscription(path: str) -> None:
    """Check that there are credentials, that Pub/Sub answers, and that the subscription exists.

    Beam by itself retries without a word, or logs pages.

    Raises:
        GoogleAuthError: There are no credentials.
        PubSubUnavailable: Pub/Sub does not answer, or has no such subscription.
    """
    google.auth.default(scopes=[SCOPE])
    with pubsub_calls(path), pubsub_v1.SubscriberClient() as client:
        try:
            client.get_subscription(subscription=path, retry=COMMAND_RETRY, timeout=PATIENCE_SECONDS)
        except PermissionDenied:
            return  # who may only consume may not look


def check_topic(path: str) -> None:
    """Check that Pub/Sub answers and has a topic.

    Raises:
        PubSubUnavailable: Pub/Sub does not answer, or has no such topic.
    """
    with pubsub_calls(path), pubsub_v1.PublisherClient() as client:
        try:
            client.get_topic(topic=path, retry=COMMAND_RETRY, timeout=PATIENCE_SECONDS)
        except PermissionDenied:
            return  # who may only publish may not look
