"""Validated names and ids from outside; only these become part of a query.

Sources: Google Cloud, "Creating and managing projects", "Pub/Sub resource names"; BigQuery, "Naming datasets";
Salesforce Help, "Salesforce Email Address Format Technical Standards Validation" (000384328).
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StrictStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, core_schema

from schemas.salesforce_ids import normalize_account_id

MAX_EMAIL_CHARACTERS: Final = 80
"""The limit of Salesforce's field type Email; RFC 5321 would allow 256."""

_EMAIL: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-][A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{0,63}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)


@dataclass(frozen=True)
class Matches:
    """Constraint on text: the pattern matches all of it. The JSON schema has the pattern, so that a template has it."""

    pattern: str
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"pattern": self.pattern}

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise ValueError(f"expected {self.expected}")
        return text


def _email(text: str) -> str:
    if len(text) > MAX_EMAIL_CHARACTERS or not _EMAIL.fullmatch(text):
        raise ValueError(f"expected an address such as name@example.com, {MAX_EMAIL_CHARACTERS} characters at most")
    return text.lower()


_PROJECT: Final = (
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
)

ProjectId = Annotated[
    StrictStr,
    Matches(
        _PROJECT,
        "6 to 30 lower-case letters, digits and hyphens, a letter first, no hyphen last",
    ),
]
"""A Google Cloud project; older ones of a domain look like `example.com:my-project`."""

PROJECT_PART: Final = r"projects/[a-z0-9:.-]+"
_PUBSUB_NAME: Final = r"[A-Za-z][\w.~+%-]{2,254}"


def _pubsub_name(text: str) -> str:
    if text.rpartition("/")[2].startswith("goog"):
        raise ValueError("expected a name that does not begin with goog, which Pub/Sub reserves")
    return text


def _pubsub_path(kind: str) -> Matches:
    return Matches(
        rf"({PROJECT_PART}/{kind}/)?{_PUBSUB_NAME}", f"a name such as account-changes, or projects/P/{kind}/NAME"
    )


Subscription = Annotated[StrictStr, _pubsub_path("subscriptions"), AfterValidator(_pubsub_name)]
Topic = Annotated[StrictStr, _pubsub_path("topics"), AfterValidator(_pubsub_name)]
Snapshot = Annotated[StrictStr, _pubsub_path("snapshots"), AfterValidator(_pubsub_name)]
"""Of Pub/Sub: a name, or a path with its project."""

_DATASET: Final = r"\w{1,512}\w{0,512}"
"""1024 characters: Terraform's regular expressions have no repetition above 1000."""

DatasetId = Annotated[StrictStr, Matches(_DATASET, "letters, digits and _, 1024 at most")]

DatasetPath = Annotated[
    StrictStr,
    Matches(rf"({_PROJECT}\.)?{_DATASET}", "a dataset such as crm, or with its project: other-project.crm"),
]
"""A dataset, of another project if it names one. `Warehouse` runs and pays for queries in its own project."""

CheckedAccountId = Annotated[StrictStr, AfterValidator(normalize_account_id)]
"""A Salesforce Account id of 15 or 18 characters with a valid checksum; converted to 18 characters."""

EmailAddress = Annotated[StrictStr, AfterValidator(_email)]
"""An address as Salesforce's Email fields and user names hold it; converted to lower case, as Salesforce does.

Two dots in a row and one before the @ are allowed, since Salesforce takes them; text beyond ASCII is not.
"""

_ADAPTERS: Final[dict[Any, TypeAdapter[str]]] = {
    kind: TypeAdapter(kind)
    for kind in (ProjectId, Subscription, Topic, Snapshot, DatasetId, DatasetPath, CheckedAccountId, EmailAddress)
}


def checked(kind: Any, value: object, name: str) -> str:
    """Return a value converted to one of the types above.

    Args:
        kind: The type.
        value: The value from outside.
        name: The user's name for it, such as `--dataset`; the error starts with it.

    Raises:
        ValueError: The value is invalid; the message is one line and quotes at most 60 characters.
    """
    try:
        return _ADAPTERS[kind].validate_python(value)
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name} is {str(value)[:60]!r}: {why}") from None
