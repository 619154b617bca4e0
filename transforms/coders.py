"""Coders: records travel between steps, and lie in state, as deterministic JSON (docs/adr/007)."""

from typing import Any, Final

import apache_beam as beam
import msgspec
from apache_beam.coders import registry

from schemas.account_context import EnrichedChange, EnrichedRecord
from schemas.change_event import AccountChange, SourceMessage, UnnamedChange
from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome, ScoredChange, ScoringResult
from schemas.record import Record, to_json
from schemas.score import Score

_MESSAGE_FIELDS: Final = frozenset(SourceMessage.__struct_fields__)


class RecordCoder(beam.coders.Coder):
    """Coder of one record: msgspec's JSON, which checks types when it is read."""

    def __init__(self, model: type[Record]) -> None:
        self.model = model
        self._decoder = msgspec.json.Decoder(model)

    def encode(self, value: Record) -> bytes:
        """Return the value's JSON: fields in their declared order, mappings in the order of their keys."""
        return to_json(value)

    def decode(self, encoded: bytes) -> Any:
        """Return the value; its types are checked again, so that no step sees half a value.

        Raises:
            msgspec.DecodeError: The bytes are not a value of this model.
        """
        try:
            return self._decoder.decode(encoded)
        except msgspec.ValidationError:
            return msgspec.convert(_with_standard_base64(msgspec.json.decode(encoded)), self.model)

    def is_deterministic(self) -> bool:
        """Equal values have equal bytes."""
        return True

    def to_type_hint(self) -> type[Record]:
        """The model."""
        return self.model

    @classmethod
    def from_type_hint(cls, typehint: type[Record], _registry: Any) -> "RecordCoder":
        """Return the coder of a registered model."""
        return cls(typehint)

    def __reduce__(self) -> tuple[type["RecordCoder"], tuple[type[Record]]]:
        """Travel to workers without the decoder, which can't be pickled."""
        return RecordCoder, (self.model,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecordCoder) and other.model is self.model

    def __hash__(self) -> int:
        return hash(self.model)


class EnrichedChangeCoder(beam.coders.Coder):
    """Coder of a change with its context: that of its record."""

    def encode(self, value: EnrichedChange) -> bytes:
        """Return the JSON of the change's record."""
        return _ENRICHED.encode(EnrichedRecord.of(value))

    def decode(self, encoded: bytes) -> EnrichedChange:
        """Return the change; fields that are unknown are ignored, and missing ones get their defaults.

        Raises:
            msgspec.DecodeError: The bytes are not such a record.
            pydantic.ValidationError: The context in it is none.
        """
        record: EnrichedRecord = _ENRICHED.decode(encoded)
        return record.enriched()

    def is_deterministic(self) -> bool:
        """Equal values have equal bytes."""
        return True

    def to_type_hint(self) -> type[EnrichedChange]:
        """The class."""
        return EnrichedChange

    @classmethod
    def from_type_hint(cls, _typehint: type[EnrichedChange], _registry: Any) -> "EnrichedChangeCoder":
        """Return the coder."""
        return cls()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EnrichedChangeCoder)

    def __hash__(self) -> int:
        return hash(EnrichedChangeCoder)


_ENRICHED: Final = RecordCoder(EnrichedRecord)


def _with_standard_base64(document: Any) -> Any:
    """Return a document whose messages have their payloads in standard base64.

    Until November 2026 payloads were written in base64's URL alphabet; state and messages in flight may still hold it
    when a job is updated.
    """
    if isinstance(document, dict):
        return {
            name: _standard_message(value) if name == "source" else _with_standard_base64(value)
            for name, value in document.items()
        }
    return [_with_standard_base64(item) for item in document] if isinstance(document, list) else document


def _standard_message(source: Any) -> Any:
    """Return a SourceMessage's document with its payload in standard base64; anything else as it is."""
    if not isinstance(source, dict) or source.keys() != _MESSAGE_FIELDS or not isinstance(source["payload"], str):
        return source
    return source | {"payload": source["payload"].replace("-", "+").replace("_", "/")}


# The graph imports this module, so that every step which declares one of these models has its coder.
for _model in (AccountChange, UnnamedChange, DeadLetter, Outcome, Score, ScoredChange, ScoringResult):
    registry.register_coder(_model, RecordCoder)
registry.register_coder(EnrichedChange, EnrichedChangeCoder)
