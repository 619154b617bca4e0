"""How the models travel between steps: as their JSON, deterministic, and faster than the pickle Beam would use."""

from typing import Any

import apache_beam as beam
from apache_beam.coders import registry

from schemas.change_event import AccountChange
from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome, ScoredChange, ScoringResult
from schemas.record import Record
from schemas.score import Score


class RecordCoder(beam.coders.Coder):
    """Coder of one model: pydantic's JSON, written and validated in native code."""

    def __init__(self, model: type[Record]) -> None:
        self.model = model

    def encode(self, value: Record) -> bytes:
        """Return the value's JSON: the fields in their order, mappings in the order they are kept in."""
        return value.__pydantic_serializer__.to_json(value)

    def decode(self, encoded: bytes) -> Any:
        """Return the value; what was encoded is validated again, so no step ever sees half a value."""
        return self.model.__pydantic_validator__.validate_json(encoded)

    def is_deterministic(self) -> bool:
        """Equal values have equal bytes."""
        return True

    def to_type_hint(self) -> type[Record]:
        """The model."""
        return self.model

    @classmethod
    def from_type_hint(cls, typehint: type[Record], _registry: Any) -> "RecordCoder":
        """Return the coder of a model that was registered."""
        return cls(typehint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecordCoder) and other.model is self.model

    def __hash__(self) -> int:
        return hash(self.model)


def register_coders(*models: type[Record]) -> None:
    """Have Beam use RecordCoder where a step declares one of these models."""
    for model in models:
        registry.register_coder(model, RecordCoder)


# Whoever builds the graph imports this module, and every step that declares a model has its coder.
register_coders(AccountChange, DeadLetter, Outcome, Score, ScoredChange, ScoringResult)
