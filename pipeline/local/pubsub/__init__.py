"""A Pub/Sub broker in the process: Google's gRPC API on loopback, without Java and without gcloud.

What it plays: publishing, pulling, streaming, ordering, dead letters, retries, retention, seek and snapshots. What it
does not play answers UNIMPLEMENTED: pushing, filters, schemas, transforms, detaching, IAM. Two things are kept without
effect: expiration policies, and exactly-once delivery, whose two guarantees hold anyway but whose reports of late
acknowledgements are not sent.
"""

from pipeline.local.pubsub.server import EmbeddedPubSub

__all__ = ["EmbeddedPubSub"]
