"""The two services as gRPC handlers: methods by name, and errors of the broker as status codes."""

import inspect
from collections.abc import Callable
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio ships no annotations

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
    """Return the handlers of google.pubsub.v1, and one that answers UNIMPLEMENTED to every other method."""
    subscriber = _methods(Subscriber(broker, arrivals))
    return (
        grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", _methods(Publisher(broker))),
        grpc.method_handlers_generic_handler(
            "google.pubsub.v1.Subscriber", {**subscriber, "StreamingPull": _streaming_pull(broker, arrivals)}
        ),
        _NotImplemented(),
    )


def _methods(service: Publisher | Subscriber) -> dict[str, Any]:
    """Return the handlers of a service's public methods: `create_topic` answers CreateTopic."""
    return {
        name.title().replace("_", ""): _unary(method)
        for name, method in inspect.getmembers(service, inspect.ismethod)
        if not name.startswith("_")
    }


def _unary(method: Callable[[Any], Any]) -> Any:
    request, response = method.__annotations__.values()

    async def behaviour(received: Any, context: Any) -> Any:
        try:
            answer = method(received)
            return await answer if inspect.isawaitable(answer) else answer
        except errors.PubSubError as error:
            _refuse(context, STATUS_CODES[type(error)], str(error))
            return response()  # not sent: a status other than OK has no response

    return grpc.unary_unary_rpc_method_handler(behaviour, request.FromString, response.SerializeToString)


def _streaming_pull(broker: Broker, arrivals: Arrivals) -> Any:
    async def streaming_pull(_requests: Any, context: Any) -> None:
        try:
            await streams.Stream(broker, arrivals, context).serve()
        except errors.PubSubError as error:
            _refuse(context, STATUS_CODES[type(error)], str(error))
        else:
            if arrivals.is_closed:  # so that a client reconnects to the next broker on this port
                _refuse(context, grpc.StatusCode.UNAVAILABLE, "The broker is stopping.")

    return grpc.stream_stream_rpc_method_handler(
        streaming_pull, wire.StreamingPullRequest.FromString, wire.StreamingPullResponse.SerializeToString
    )


def _refuse(context: Any, code: grpc.StatusCode, details: str) -> None:
    # Not context.abort: its exception keeps the call, the server and grpc's poller thread alive until the next garbage
    # collection.
    context.set_code(code)
    context.set_details(details)


class _NotImplemented(grpc.GenericRpcHandler):
    """Answers UNIMPLEMENTED to every other method, such as those of SchemaService and IAMPolicy."""

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method.removeprefix("/")

        async def refuse(_request: bytes, context: Any) -> bytes:
            _refuse(context, grpc.StatusCode.UNIMPLEMENTED, f"This broker does not implement {method}.")
            return b""

        return grpc.unary_unary_rpc_method_handler(refuse)
