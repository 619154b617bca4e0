"""What every value that crosses a step has in common."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen value with no fields but its own; bytes travel as base64 in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")
