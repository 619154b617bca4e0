"""The gRPC face: every method of the API is answered, and every refusal has its status code."""

import importlib.resources
import json

from pipeline.local.pubsub.arrivals import Arrivals
from pipeline.local.pubsub.broker import Broker
from pipeline.local.pubsub.errors import PubSubError
from pipeline.local.pubsub.service import STATUS_CODES, handlers


def test_every_refusal_has_a_status_code() -> None:
    """The map from the broker's errors to gRPC's codes is complete, and one to one."""
    assert set(STATUS_CODES) == set(PubSubError.__subclasses__())
    assert len(set(STATUS_CODES.values())) == len(STATUS_CODES)


def test_every_method_of_the_api_is_answered() -> None:
    """Each method that Google's client can call on the two services has a handler of its own."""
    metadata = json.loads(importlib.resources.files("google.pubsub_v1").joinpath("gapic_metadata.json").read_text())
    served = {handler.service_name(): set(handler._method_handlers) for handler in handlers(Broker(), Arrivals())[:2]}
    for service in ("Publisher", "Subscriber"):
        name = f"google.pubsub.v1.{service}"
        wanted = metadata["services"][service]["clients"]["grpc"]["rpcs"]
        assert served[name] == {f"/{name}/{method}" for method in wanted}
