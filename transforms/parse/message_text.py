"""Read the JSON documents of a message, or of a text within one: gzip, base64 and JSON lines are taken off."""

import base64
import binascii
import re
import zlib
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from transforms.errors import MessageTooLarge, RefusedEvent, Undecodable
from transforms.parse.json_sequences import objects_in, records_in
from transforms.parse.limits import MAX_BRACKETS, MAX_DECOMPRESSED_BYTES, MAX_EVENTS, MAX_OBJECTS, count_objects
from transforms.parse.unreadable_shapes import undecodable
from transforms.parse.unusable_values import read_unusable

_GZIP: Final = b"\x1f\x8b"
_GZIP_WBITS: Final = 31
_BOM: Final = b"\xef\xbb\xbf"
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{4,}(?:\r?\n[A-Za-z0-9+/_-]+)*(?:\r?\n)?={0,2}\Z")
_MIN_BASE64: Final = 16
_CONFLUENT_JSON: Final = re.compile(rb"\x00.{4}(?=\{)", re.DOTALL)
_MAX_LAYERS: Final = 8
_MIN_LINES: Final = 2
_SAMPLED_LINES: Final = 20


class UnreadablePart(NamedTuple):
    """One of several events of a message that can't be read, as JSON or as the line that it was."""

    text: bytes
    error: RefusedEvent


@dataclass
class Allowance:
    """What one message may still hold: bytes to decompress, events, and objects and lists in them."""

    bytes_left: int = MAX_DECOMPRESSED_BYTES
    events_left: int = MAX_EVENTS
    objects_left: int = MAX_OBJECTS
    has_unusable: bool = False
    """Whether values were read that can't be held."""

    def decompress(self, count: int) -> None:
        """Take decompressed bytes off.

        Raises:
            MessageTooLarge: They are more than a message may have.
        """
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise MessageTooLarge("gzip of more bytes than a message may have: publish fewer events in each")

    def read_event(self) -> None:
        """Take one event off.

        Raises:
            MessageTooLarge: They are more than a message may have.
        """
        self.events_left -= 1
        if self.events_left < 0:
            raise too_many_events()

    def read_objects(self, value: Any) -> None:
        """Take the objects and lists of a JSON value off.

        Raises:
            MessageTooLarge: They are more than a message may have.
        """
        self.objects_left -= count_objects(value, self.objects_left)
        if self.objects_left < 0:
            raise too_many_objects()


def too_many_objects() -> MessageTooLarge:
    """Return the refusal of a message with more objects and lists than its events may have."""
    return MessageTooLarge("more objects and lists than the events of a message may have: publish fewer events in each")


def too_many_events() -> MessageTooLarge:
    """Return the refusal of a message with more events than one may have."""
    return MessageTooLarge("more events than one message may have: publish fewer in each")


def may_hold_json(text: bytes) -> bool:
    """Whether a text within an envelope looks like JSON, or like base64, or like another encoding of an event."""
    return text.lstrip()[:1] in (b"{", b"[", b'"', b"<") or is_base64(text.strip())


def is_base64(text: bytes) -> bool:
    """Whether a text is base64, standard or URL-safe, perhaps broken into lines as MIME does."""
    return len(text) >= _MIN_BASE64 and bool(_BASE64.match(text))


def read_documents(data: bytes, allowance: Allowance) -> list[Any]:
    """Return the JSON documents of a text, one or several; one of several that is not JSON is an UnreadablePart.

    Raises:
        Undecodable: The text is not JSON, nor gzip or base64 of JSON, nor several documents.
        MessageTooLarge: It is too long when it is decompressed, or has too many documents.
    """
    for _ in range(_MAX_LAYERS):
        if is_gzip(data):
            data = decompressed(data, allowance)
            continue
        data = data.strip().removeprefix(_BOM)
        if _CONFLUENT_JSON.match(data):
            data = data[5:]
        if not data:
            raise Undecodable("the message is empty: expected a change event in JSON")
        if data.startswith((b"{", b"[", b'"')) or not is_base64(data):
            return _documents(data, allowance)
        data = _from_base64(data)
    raise Undecodable(f"not JSON: more than {_MAX_LAYERS} layers of gzip and base64")


def is_gzip(data: bytes) -> bool:
    """Whether bytes begin as gzip does; no text and no JSON does."""
    return data.startswith(_GZIP)


def decompressed(data: bytes, allowance: Allowance) -> bytes:
    """Return what gzip holds, all of its members; no more is decompressed than is allowed.

    Raises:
        Undecodable: It is damaged or ends too early.
        MessageTooLarge: It holds more than is allowed.
    """
    members: list[bytes] = []
    while is_gzip(data):
        member = zlib.decompressobj(_GZIP_WBITS)
        try:
            text = member.decompress(data, allowance.bytes_left + 1)
        except zlib.error:
            raise Undecodable("not JSON, but damaged gzip: publish it again") from None
        allowance.decompress(len(text))
        if not member.eof:
            raise Undecodable("not JSON, but gzip that ends too early: publish it whole")
        members.append(text)
        data = member.unused_data
    return b"".join(members)


def _from_base64(text: bytes) -> bytes:
    standard = text.translate(_STANDARD, b"\r\n").rstrip(b"=")
    try:
        return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
    except binascii.Error:
        raise Undecodable("not JSON, and not complete base64: expected a change event in JSON") from None


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _documents(text: bytes, allowance: Allowance) -> list[Any]:
    if text.count(b"{") + text.count(b"[") > MAX_BRACKETS:
        raise too_many_objects()
    try:
        return [orjson.loads(text)]
    except orjson.JSONDecodeError as error:
        # The error's own text may quote the message, so only its position is told.
        refusal = undecodable(text, error.pos)
    try:
        return [_unusable_document(text, allowance)]
    except ValueError:
        documents = _several(text, allowance)
    if not documents:
        raise refusal
    if len(documents) > allowance.events_left:
        raise too_many_events()
    if len(documents) == 1:
        return [_document(documents[0], allowance)]
    return [_part(document, allowance) for document in documents]


def _several(text: bytes, allowance: Allowance) -> list[bytes] | None:
    """Return the documents of a text that is not one; None if it has none, or if it is not certain where they end."""
    documents = records_in(text) or objects_in(text, allowance.events_left)
    if documents:
        return documents if documents != [text] else None
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n") if line.strip()]
    # A broken document of several lines has few lines that are documents by themselves.
    is_likely = len(lines) >= _MIN_LINES and _are_mostly_objects(lines[:_SAMPLED_LINES])
    return lines if is_likely else None


def _are_mostly_objects(lines: list[bytes]) -> bool:
    return 2 * sum(line.lstrip().startswith(b"{") and _is_json(line) for line in lines) >= len(lines)


def _is_json(line: bytes) -> bool:
    return not isinstance(_part(line, Allowance()), UnreadablePart)


def _part(text: bytes, allowance: Allowance) -> Any:
    try:
        return _document(text, allowance)
    except Undecodable as error:
        return UnreadablePart(text, error)


def _document(text: bytes, allowance: Allowance) -> Any:
    """Return one of several documents; a comma after it belongs to none."""
    text = text.rstrip().removesuffix(b",")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        refusal = undecodable(text, error.pos)
    try:
        return _unusable_document(text, allowance)
    except ValueError:
        raise refusal from None


def _unusable_document(text: bytes, allowance: Allowance) -> Any:
    """Return a document in which values can't be held."""
    document = read_unusable(text)
    allowance.has_unusable = True
    return document
