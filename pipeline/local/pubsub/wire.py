"""The messages of google.pubsub.v1 as plain protobuf classes, which cost a fraction of their proto-plus wrappers."""

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]  # protobuf ships no annotations
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]  # the same
from google.protobuf.field_mask_pb2 import FieldMask  # type: ignore[import-untyped]  # the same
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]  # the same
from google.pubsub_v1 import types

if TYPE_CHECKING:
    # The plain classes carry no annotations. Their proto-plus twins declare the same fields under the same names.
    from google.pubsub_v1.types import (
        AcknowledgeRequest,
        CreateSnapshotRequest,
        DeadLetterPolicy,
        DeleteSnapshotRequest,
        DeleteSubscriptionRequest,
        DeleteTopicRequest,
        DetachSubscriptionRequest,
        DetachSubscriptionResponse,
        GetSnapshotRequest,
        GetSubscriptionRequest,
        GetTopicRequest,
        ListSnapshotsRequest,
        ListSnapshotsResponse,
        ListSubscriptionsRequest,
        ListSubscriptionsResponse,
        ListTopicSnapshotsRequest,
        ListTopicSnapshotsResponse,
        ListTopicsRequest,
        ListTopicsResponse,
        ListTopicSubscriptionsRequest,
        ListTopicSubscriptionsResponse,
        ModifyAckDeadlineRequest,
        ModifyPushConfigRequest,
        PublishRequest,
        PublishResponse,
        PubsubMessage,
        PullRequest,
        PullResponse,
        PushConfig,
        RetryPolicy,
        SeekRequest,
        SeekResponse,
        Snapshot,
        StreamingPullRequest,
        StreamingPullResponse,
        Subscription,
        Topic,
        UpdateSnapshotRequest,
        UpdateSubscriptionRequest,
        UpdateTopicRequest,
    )
else:
    AcknowledgeRequest = types.AcknowledgeRequest.pb()
    CreateSnapshotRequest = types.CreateSnapshotRequest.pb()
    DeadLetterPolicy = types.DeadLetterPolicy.pb()
    DeleteSnapshotRequest = types.DeleteSnapshotRequest.pb()
    DeleteSubscriptionRequest = types.DeleteSubscriptionRequest.pb()
    DeleteTopicRequest = types.DeleteTopicRequest.pb()
    DetachSubscriptionRequest = types.DetachSubscriptionRequest.pb()
    DetachSubscriptionResponse = types.DetachSubscriptionResponse.pb()
    GetSnapshotRequest = types.GetSnapshotRequest.pb()
    GetSubscriptionRequest = types.GetSubscriptionRequest.pb()
    GetTopicRequest = types.GetTopicRequest.pb()
    ListSnapshotsRequest = types.ListSnapshotsRequest.pb()
    ListSnapshotsResponse = types.ListSnapshotsResponse.pb()
    ListSubscriptionsRequest = types.ListSubscriptionsRequest.pb()
    ListSubscriptionsResponse = types.ListSubscriptionsResponse.pb()
    ListTopicSnapshotsRequest = types.ListTopicSnapshotsRequest.pb()
    ListTopicSnapshotsResponse = types.ListTopicSnapshotsResponse.pb()
    ListTopicsRequest = types.ListTopicsRequest.pb()
    ListTopicsResponse = types.ListTopicsResponse.pb()
    ListTopicSubscriptionsRequest = types.ListTopicSubscriptionsRequest.pb()
    ListTopicSubscriptionsResponse = types.ListTopicSubscriptionsResponse.pb()
    ModifyAckDeadlineRequest = types.ModifyAckDeadlineRequest.pb()
    ModifyPushConfigRequest = types.ModifyPushConfigRequest.pb()
    PublishRequest = types.PublishRequest.pb()
    PublishResponse = types.PublishResponse.pb()
    PubsubMessage = types.PubsubMessage.pb()
    PullRequest = types.PullRequest.pb()
    PullResponse = types.PullResponse.pb()
    PushConfig = types.PushConfig.pb()
    RetryPolicy = types.RetryPolicy.pb()
    SeekRequest = types.SeekRequest.pb()
    SeekResponse = types.SeekResponse.pb()
    Snapshot = types.Snapshot.pb()
    StreamingPullRequest = types.StreamingPullRequest.pb()
    StreamingPullResponse = types.StreamingPullResponse.pb()
    Subscription = types.Subscription.pb()
    Topic = types.Topic.pb()
    UpdateSnapshotRequest = types.UpdateSnapshotRequest.pb()
    UpdateSubscriptionRequest = types.UpdateSubscriptionRequest.pb()
    UpdateTopicRequest = types.UpdateTopicRequest.pb()

__all__ = [
    "AcknowledgeRequest",
    "CreateSnapshotRequest",
    "DeadLetterPolicy",
    "DeleteSnapshotRequest",
    "DeleteSubscriptionRequest",
    "DeleteTopicRequest",
    "DetachSubscriptionRequest",
    "DetachSubscriptionResponse",
    "Duration",
    "Empty",
    "FieldMask",
    "GetSnapshotRequest",
    "GetSubscriptionRequest",
    "GetTopicRequest",
    "ListSnapshotsRequest",
    "ListSnapshotsResponse",
    "ListSubscriptionsRequest",
    "ListSubscriptionsResponse",
    "ListTopicSnapshotsRequest",
    "ListTopicSnapshotsResponse",
    "ListTopicSubscriptionsRequest",
    "ListTopicSubscriptionsResponse",
    "ListTopicsRequest",
    "ListTopicsResponse",
    "ModifyAckDeadlineRequest",
    "ModifyPushConfigRequest",
    "PublishRequest",
    "PublishResponse",
    "PubsubMessage",
    "PullRequest",
    "PullResponse",
    "PushConfig",
    "RetryPolicy",
    "SeekRequest",
    "SeekResponse",
    "Snapshot",
    "StreamingPullRequest",
    "StreamingPullResponse",
    "Subscription",
    "Timestamp",
    "Topic",
    "UpdateSnapshotRequest",
    "UpdateSubscriptionRequest",
    "UpdateTopicRequest",
]
