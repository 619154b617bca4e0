"""A Pub/Sub broker in this process: Google's gRPC API on loopback, without Java and without gcloud.

It implements publish, pull, streaming pull, ordering, dead-letter policies, retry policies, retention, seek and
snapshots. Push, filters, schemas, transforms, detach and IAM answer UNIMPLEMENTED. Two settings are stored without
effect: expiration policies, and exactly-once delivery, whose guarantees hold anyway, but late acknowledgements are not
reported.
"""

from pipeline.local.pubsub.server import EmbeddedPubSub

__all__ = ["EmbeddedPubSub"]
