"""The messages of google.pubsub.v1 as plain protobuf classes, which are much cheaper than their proto-plus wrappers."""

from typing import Any

from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]  # protobuf ships no annotations
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]  # the same
from google.protobuf.field_mask_pb2 import FieldMask  # type: ignore[import-untyped]  # the same
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]  # the same
from google.pubsub_v1 import types

__all__ = ["Duration", "Empty", "FieldMask", "Timestamp"]


def __getattr__(name: str) -> Any:
    """Return the plain class of a message, such as `Topic`."""
    try:
        return getattr(types, name).pb()
    except AttributeError:
        raise AttributeError(f"google.pubsub.v1 has no message {name}") from None
