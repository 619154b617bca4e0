"""The two services as gRPC handlers: methods by name, and the broker's refusals as status codes."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio ships no annotations
from grpc import aio

from pipeline.local.pubsub import errors, streams, wire
from pipeline.local.pubsub.arrivals import Arrivals
from pipeline.local.pubsub.broker import Broker
from pipeline.local.pubsub.publisher import Publisher
from pipeline.local.pubsub.subscriber import Subscriber

STATUS_CODES = {
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.OutOfRangeError: grpc.StatusCode.OUT_OF_RANGE,
    errors.UnimplementedError: grpc.StatusCode.UNIMPLEMENTED,
}


def handlers(broker: Broker, arrivals: Arrivals) -> tuple[Any, ...]:
    """Every method of google.pubsub.v1, and a clear refusal of all others."""
    return (
        grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", _publisher_methods(Publisher(broker))),
        grpc.method_handlers_generic_handler(
            "google.pubsub.v1.Subscriber",
            {
                **_subscriber_methods(Subscriber(broker)),
                "Pull": _pull_method(broker, arrivals),
                "StreamingPull": _streaming_pull_method(broker, arrivals),
            },
        ),
        _NotImplemented(),
    )


def _publisher_methods(publisher: Publisher) -> dict[str, Any]:
    return {
        "CreateTopic": _unary(publisher.create_topic, wire.Topic, wire.Topic),
        "GetTopic": _unary(publisher.get_topic, wire.GetTopicRequest, wire.Topic),
        "ListTopics": _unary(publisher.list_topics, wire.ListTopicsRequest, wire.ListTopicsResponse),
        "ListTopicSubscriptions": _unary(
            publisher.list_topic_subscriptions,
            wire.ListTopicSubscriptionsRequest,
            wire.ListTopicSubscriptionsResponse,
        ),
        "ListTopicSnapshots": _unary(
            publisher.list_topic_snapshots, wire.ListTopicSnapshotsRequest, wire.ListTopicSnapshotsResponse
        ),
        "UpdateTopic": _unary(publisher.update_topic, wire.UpdateTopicRequest, wire.Topic),
        "DeleteTopic": _unary(publisher.delete_topic, wire.DeleteTopicRequest, wire.Empty),
        "Publish": _unary(publisher.publish, wire.PublishRequest, wire.PublishResponse),
        "DetachSubscription": _unary(
            publisher.detach_subscription, wire.DetachSubscriptionRequest, wire.DetachSubscriptionResponse
        ),
    }


def _subscriber_methods(subscriber: Subscriber) -> dict[str, Any]:
    return {
        "CreateSubscription": _unary(subscriber.create_subscription, wire.Subscription, wire.Subscription),
        "GetSubscription": _unary(subscriber.get_subscription, wire.GetSubscriptionRequest, wire.Subscription),
        "ListSubscriptions": _unary(
            subscriber.list_subscriptions, wire.ListSubscriptionsRequest, wire.ListSubscriptionsResponse
        ),
        "UpdateSubscription": _unary(subscriber.update_subscription, wire.UpdateSubscriptionRequest, wire.Subscription),
        "DeleteSubscription": _unary(subscriber.delete_subscription, wire.DeleteSubscriptionRequest, wire.Empty),
        "ModifyPushConfig": _unary(subscriber.modify_push_config, wire.ModifyPushConfigRequest, wire.Empty),
        "Acknowledge": _unary(subscriber.acknowledge, wire.AcknowledgeRequest, wire.Empty),
        "ModifyAckDeadline": _unary(subscriber.modify_ack_deadline, wire.ModifyAckDeadlineRequest, wire.Empty),
        "Seek": _unary(subscriber.seek, wire.SeekRequest, wire.SeekResponse),
        "CreateSnapshot": _unary(subscriber.create_snapshot, wire.CreateSnapshotRequest, wire.Snapshot),
        "GetSnapshot": _unary(subscriber.get_snapshot, wire.GetSnapshotRequest, wire.Snapshot),
        "ListSnapshots": _unary(subscriber.list_snapshots, wire.ListSnapshotsRequest, wire.ListSnapshotsResponse),
        "UpdateSnapshot": _unary(subscriber.update_snapshot, wire.UpdateSnapshotRequest, wire.Snapshot),
        "DeleteSnapshot": _unary(subscriber.delete_snapshot, wire.DeleteSnapshotRequest, wire.Empty),
    }


def _unary(answer: Callable[[Any], Any], request: Any, response: Any) -> Any:
    async def answer_soon(received: Any) -> Any:
        return answer(received)

    return _awaited(answer_soon, request, response)


def _pull_method(broker: Broker, arrivals: Arrivals) -> Any:
    async def pull(request: wire.PullRequest) -> wire.PullResponse:
        return await streams.pull(broker, arrivals, request)

    return _awaited(pull, wire.PullRequest, wire.PullResponse)


def _awaited(answer: Callable[[Any], Awaitable[Any]], request: Any, response: Any) -> Any:
    async def behaviour(received: Any, context: Any) -> Any:
        try:
            return await answer(received)
        except errors.PubSubError as error:
            _refuse(context, STATUS_CODES[type(error)], str(error))
            return response()  # never sent: a status that isn't OK goes alone

    return grpc.unary_unary_rpc_method_handler(behaviour, request.FromString, response.SerializeToString)


def _streaming_pull_method(broker: Broker, arrivals: Arrivals) -> Any:
    async def streaming_pull(_requests: Any, context: Any) -> None:
        try:
            await streams.Stream(broker, arrivals, context, aio.EOF).serve()
        except errors.PubSubError as error:
            _refuse(context, STATUS_CODES[type(error)], str(error))
        else:
            if arrivals.is_closed:  # so that a client looks for the next broker on this port
                _refuse(context, grpc.StatusCode.UNAVAILABLE, "The broker stops.")

    return grpc.stream_stream_rpc_method_handler(
        streaming_pull, wire.StreamingPullRequest.FromString, wire.StreamingPullResponse.SerializeToString
    )


def _refuse(context: Any, code: grpc.StatusCode, details: str) -> None:
    # Not context.abort: the exception it raises keeps the call and the server alive until the next garbage collection,
    # and with them grpc's poller thread, long after the broker stopped.
    context.set_code(code)
    context.set_details(details)


class _NotImplemented(grpc.GenericRpcHandler):
    """Answers every other method, such as those of SchemaService and IAMPolicy."""

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method.removeprefix("/")

        async def refuse(_request: bytes, context: Any) -> bytes:
            _refuse(context, grpc.StatusCode.UNIMPLEMENTED, f"This broker does not implement {method}.")
            return b""

        return grpc.unary_unary_rpc_method_handler(refuse)
