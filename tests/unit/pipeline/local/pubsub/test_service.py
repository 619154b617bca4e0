"""gRPC handlers: every method of the API has one, and every error its status code."""

import importlib.resources
import json

from pipeline.local.pubsub.arrivals import Arrivals
from pipeline.local.pubsub.broker import Broker
from pipeline.local.pubsub.errors import PubSubError
from pipeline.local.pubsub.service import STATUS_CODES, handlers


def test_every_error_has_a_status_code() -> None:
    """The map from the broker's errors to gRPC's codes is complete, and one to one."""
    assert set(STATUS_CODES) == set(PubSubError.__subclasses__())
    assert len(set(STATUS_CODES.values())) == len(STATUS_CODES)


NOT_IMPLEMENTED = {"DetachSubscription", "ModifyPushConfig", "UpdateSnapshot"}


def test_every_method_of_the_api_has_a_handler() -> None:
    """Each method that Google's client can call has a handler, except those that answer UNIMPLEMENTED."""
    metadata = json.loads(importlib.resources.files("google.pubsub_v1").joinpath("gapic_metadata.json").read_text())
    served = {handler.service_name(): set(handler._method_handlers) for handler in handlers(Broker(), Arrivals())[:2]}
    for service in ("Publisher", "Subscriber"):
        name = f"google.pubsub.v1.{service}"
        methods = set(metadata["services"][service]["clients"]["grpc"]["rpcs"]) - NOT_IMPLEMENTED
        assert served[name] == {f"/{name}/{method}" for method in methods}
