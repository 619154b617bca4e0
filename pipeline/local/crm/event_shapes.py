"""The shapes in which a change event reaches Google Pub/Sub, each a pure function of the Pub/Sub API's flat event.

There are two conventions. The Pub/Sub API and what is built on it name cleared fields in `nulledFields`, send every
field of the schema, and write dates as epoch milliseconds. CometD and what is built on it have no `nulledFields`, send
only changed fields, write null for a cleared field, and dates in ISO 8601.
"""

import base64
import datetime as dt
from collections.abc import Callable, Collection
from typing import Any, Final

import orjson

from pipeline.local.crm.change_events import JsonObject
from pipeline.local.crm.entity_fields import COMPOUND_FIELDS, ENTITY_FIELDS, FieldKind
from pipeline.local.crm.record_ids import named_record_id

_HEADER: Final = "ChangeEventHeader"
_ONLY_PUBSUB_API: Final = ("nulledFields", "diffFields")
_EVENT_RELAY: Final = f"aws.partner/salesforce.com/{named_record_id('00D', 'org')}/{named_record_id('0YL', 'relay')}"


def as_pubsub_api_flat(event: JsonObject) -> JsonObject:
    """Decoded and flat, as the Pub/Sub API's Node client hands it on: `{id, schemaId, replayId, payload}`."""
    return event


def as_payload_alone(event: JsonObject) -> JsonObject:
    """A CometD payload without any envelope."""
    payload = event["payload"]
    header = _without(payload[_HEADER], _ONLY_PUBSUB_API)
    kinds = ENTITY_FIELDS.get(header["entityName"], {})
    cleared = _cleared_fields(payload)
    body: JsonObject = {}
    for name, value in _fields(payload).items():
        if isinstance(value, dict):
            parts = {part: v for part, v in value.items() if v is not None or f"{name}.{part}" in cleared}
            body |= {name: parts} if parts else {}
        elif value is not None or name in cleared:
            body[name] = _iso(value, kinds.get(name))
    return {**body, _HEADER: header}


def as_cometd_envelope(event: JsonObject) -> JsonObject:
    """A message of a CometD subscription: `{data: {schema, payload, event: {replayId}}, channel}`."""
    entity = event["payload"][_HEADER]["entityName"]
    return {
        "data": {
            "schema": event["schemaId"],
            "payload": as_payload_alone(event),
            "event": {"replayId": event["replayId"]},
        },
        "channel": f"/data/{entity}ChangeEvent",
    }


def as_cloudevent_data(event: JsonObject) -> JsonObject:
    """The data of a CloudEvent made from a CometD message: `{event, schema, payload}`."""
    return {
        "event": {"createdDate": "0001-01-01T00:00:00Z", "replayId": event["replayId"]},
        "schema": event["schemaId"],
        "payload": as_payload_alone(event),
    }


def as_unbundled(event: JsonObject) -> JsonObject:
    """A CometD payload of one record, named by `recordId`.

    Raises:
        ValueError: The event is about several records, which this shape can't hold.
    """
    payload = as_payload_alone(event)
    header = dict(payload[_HEADER])
    (header["recordId"],) = header.pop("recordIds")
    return {**payload, _HEADER: header}


def as_avro_json(event: JsonObject) -> JsonObject:
    """The Pub/Sub API's event as Avro's own JSON: each value wrapped in the name of its union branch."""
    payload = event["payload"]
    kinds = ENTITY_FIELDS.get(payload[_HEADER]["entityName"], {})
    wrapped = {name: _union(value, kinds.get(name)) for name, value in _fields(payload).items()}
    return {"replayId": str(event["replayId"]), "payload": {_HEADER: payload[_HEADER], **wrapped}}


def as_avro_json_bitmaps(event: JsonObject) -> JsonObject:
    """Avro JSON with field lists as raw bitmaps, which can only be decoded with the schema."""
    avro = as_avro_json(event)
    header = dict(avro["payload"][_HEADER])
    for names in ("nulledFields", "diffFields", "changedFields"):
        header[names] = _bitmaps(header["entityName"], header[names])
    return {**avro, "payload": {**avro["payload"], _HEADER: header}}


def as_event_relay_payload(event: JsonObject) -> JsonObject:
    """An event on Amazon EventBridge through Event Relay: the change in `detail.payload`, without empty fields."""
    payload = event["payload"]
    detail = {"payload": _sparse(payload), "schemaId": event["schemaId"], "id": event["id"]}
    return _event_bridge(event, detail)


def as_event_relay_detail(event: JsonObject) -> JsonObject:
    """Like `as_event_relay_payload`, with the header and the fields directly in `detail`."""
    return _event_bridge(event, _sparse(event["payload"]))


def as_kafka_connector(event: JsonObject) -> JsonObject:
    """A record of Confluent's source connector, `{payload, schema}`: null for every field without a value."""
    payload = event["payload"]
    header = _without(payload[_HEADER], _ONLY_PUBSUB_API)
    object_type = f"{header['entityName']}ChangeEvent"
    fields = _fields(payload)
    schema = {
        "type": "struct",
        "name": f"io.confluent.salesforce.{object_type}",
        "optional": False,
        "fields": [{"field": name, "optional": True} for name in fields],
    }
    record = {
        "Id": header["recordIds"][0],
        "ReplayId": str(event["replayId"]),
        **fields,
        _HEADER: header,
        "_ObjectType": object_type,
        "_EventType": event["schemaId"],
    }
    return {"payload": record, "schema": schema}


def as_base64(event: JsonObject) -> bytes:
    """The flat event's JSON in base64."""
    return base64.b64encode(orjson.dumps(event))


def as_doubly_encoded_json(event: JsonObject) -> bytes:
    """A JSON string that holds a CometD envelope's JSON."""
    return orjson.dumps(orjson.dumps(as_cometd_envelope(event)).decode())


Shape = Callable[[JsonObject], JsonObject | bytes]

SHAPES: Final[dict[str, Shape]] = {
    "pubsub_api_flat": as_pubsub_api_flat,
    "payload_alone": as_payload_alone,
    "cometd_envelope": as_cometd_envelope,
    "cloudevent_data": as_cloudevent_data,
    "unbundled": as_unbundled,
    "avro_json": as_avro_json,
    "event_relay_payload": as_event_relay_payload,
    "event_relay_detail": as_event_relay_detail,
    "kafka_connector": as_kafka_connector,
    "base64": as_base64,
    "doubly_encoded_json": as_doubly_encoded_json,
}
"""The readable shapes by name, without raw bitmaps."""


def shaped_payload(event: JsonObject, shape: Shape) -> bytes:
    """Return the bytes of a Pub/Sub message that holds the event in that shape."""
    shaped = shape(event)
    return shaped if isinstance(shaped, bytes) else orjson.dumps(shaped)


def can_hold(shape: Shape, event: JsonObject) -> bool:
    """Whether a shape can hold the event: an unbundled event is about one record."""
    return shape is not as_unbundled or len(event["payload"][_HEADER]["recordIds"]) == 1


def _fields(payload: JsonObject) -> JsonObject:
    return {name: value for name, value in payload.items() if name != _HEADER}


def _without(values: JsonObject, names: Collection[str]) -> JsonObject:
    return {name: value for name, value in values.items() if name not in names}


def _cleared_fields(payload: JsonObject) -> frozenset[str]:
    return frozenset(payload[_HEADER]["nulledFields"])


def _sparse(payload: JsonObject) -> JsonObject:
    sparse: JsonObject = {_HEADER: payload[_HEADER]}
    for name, value in _fields(payload).items():
        if isinstance(value, dict):
            parts = {part: v for part, v in value.items() if v is not None}
            sparse |= {name: parts} if parts else {}
        elif value is not None:
            sparse[name] = value
    return sparse


def _iso(value: Any, kind: FieldKind | None) -> Any:
    if value is None or kind not in (FieldKind.MOMENT, FieldKind.DAY):
        return value
    moment = dt.datetime.fromtimestamp(value / 1000, dt.UTC)
    return moment.date().isoformat() if kind is FieldKind.DAY else moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _union(value: Any, kind: FieldKind | None) -> Any:
    """Wrap a value by its field's type, or by its own type if the field is unknown."""
    if value is None:
        return None
    if isinstance(value, dict):
        kind = kind or FieldKind.ADDRESS
        parts = COMPOUND_FIELDS[kind]
        return {kind.union_branch: {part: _union(inner, parts.get(part)) for part, inner in value.items()}}
    return {kind.union_branch if kind else _branch_of(value): value}


def _branch_of(value: Any) -> str:
    return {bool: "boolean", int: "long", float: "double", str: "string"}[type(value)]


def _bitmaps(entity: str, names: list[str]) -> list[str]:
    """Encode field names: bit i of the first bitmap is field i, the header being field 0; `4-0x02` is within 4."""
    kinds = ENTITY_FIELDS[entity]
    positions = {name: position for position, name in enumerate(kinds, start=1)}
    top = 0
    within: dict[int, int] = {}
    for name in names:
        field, _, part = name.partition(".")
        if part:
            bit = list(COMPOUND_FIELDS[kinds[field]]).index(part)
            within[positions[field]] = within.get(positions[field], 0) | 1 << bit
        else:
            top |= 1 << positions[field]
    return [_hex(top)] * bool(top) + [f"{position}-{_hex(bits)}" for position, bits in sorted(within.items())]


def _hex(bits: int) -> str:
    digits = f"{bits:X}"
    return f"0x{digits:0>{len(digits) + len(digits) % 2}}"


def _event_bridge(event: JsonObject, detail: JsonObject) -> JsonObject:
    header = event["payload"][_HEADER]
    committed_at = dt.datetime.fromtimestamp(header["commitTimestamp"] / 1000, dt.UTC)
    return {
        "version": "0",
        "id": event["id"],
        "detail-type": f"{header['entityName']}ChangeEvent",
        "source": _EVENT_RELAY,
        "account": "000000000000",
        "time": committed_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "eu-central-1",
        "resources": [],
        "detail": detail,
    }
