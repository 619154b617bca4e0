"""Validated names and ids from outside; only these become part of a query.

Sources: Google Cloud, "Creating and managing projects"; BigQuery, "Naming datasets"; Salesforce Help, "Salesforce Email
Address Format Technical Standards Validation" (000384328).
"""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, StrictStr, TypeAdapter, ValidationError

from schemas.salesforce_ids import normalize_account_id

MAX_EMAIL_CHARACTERS: Final = 80
"""The limit of Salesforce's field type Email; RFC 5321 would allow 256."""

_PROJECT: Final = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
)
_DATASET: Final = re.compile(r"[A-Za-z0-9_]{1,1024}")
_EMAIL: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-][A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{0,63}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)


def _project(text: str) -> str:
    if not _PROJECT.fullmatch(text):
        raise ValueError("expected 6 to 30 lower-case letters, digits and hyphens, a letter first, no hyphen last")
    return text


def _dataset(text: str) -> str:
    if not _DATASET.fullmatch(text):
        raise ValueError("expected letters, digits and _, 1024 at most")
    return text


def _email(text: str) -> str:
    if len(text) > MAX_EMAIL_CHARACTERS or not _EMAIL.fullmatch(text):
        raise ValueError(f"expected an address such as name@example.com, {MAX_EMAIL_CHARACTERS} characters at most")
    return text.lower()


ProjectId = Annotated[StrictStr, AfterValidator(_project)]
"""A Google Cloud project; older ones of a domain look like `example.com:my-project`."""

DatasetId = Annotated[StrictStr, AfterValidator(_dataset)]
CheckedAccountId = Annotated[StrictStr, AfterValidator(normalize_account_id)]
"""A Salesforce Account id of 15 or 18 characters with a valid checksum; converted to 18 characters."""

EmailAddress = Annotated[StrictStr, AfterValidator(_email)]
"""An address as Salesforce's Email fields and user names hold it; converted to lower case, as Salesforce does.

Two dots in a row and one before the @ are allowed, since Salesforce takes them; text beyond ASCII is not.
"""

_ADAPTERS: Final[dict[Any, TypeAdapter[str]]] = {
    kind: TypeAdapter(kind) for kind in (ProjectId, DatasetId, CheckedAccountId, EmailAddress)
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
