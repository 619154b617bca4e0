"""The allow-list: who may use the API, in a YAML file.

    principals:
      - email: ann@example.com
        roles: [reader]
      - email: night-shift@my-project.iam.gserviceaccount.com
        roles: [reader, operator]
    webhooks:
      - name: salesforce-flow
        secrets: [RESCORE_WEBHOOK_SECRET]   # variables or versions in Secret Manager; two while one is being replaced

A webhook may publish change events, and nothing else. The file holds no secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

import yaml
from pydantic import AfterValidator, Field, StrictStr, ValidationError

from pipeline.api.auth.principals import Role
from schemas.identifiers import EmailAddress, Matches
from schemas.record import ValidatedModel
from transforms.clients.secrets import is_secret_name

_MAX_BYTES: Final = 1_000_000


def _secret_name(text: str) -> str:
    if not is_secret_name(text):
        raise ValueError("expected the name of an environment variable or of a version in Secret Manager")
    return text


class _Person(ValidatedModel):
    email: EmailAddress
    roles: tuple[Role, ...] = Field(min_length=1)


class _Webhook(ValidatedModel):
    name: Annotated[StrictStr, Matches(r"[a-z][a-z0-9-]{0,62}", "lower-case letters, digits and hyphens")]
    secrets: tuple[Annotated[StrictStr, AfterValidator(_secret_name)], ...] = Field(min_length=1, max_length=2)


class _File(ValidatedModel):
    principals: tuple[_Person, ...] = ()
    webhooks: tuple[_Webhook, ...] = ()


@dataclass(frozen=True)
class AllowList:
    """Roles by email, and the names of the secrets of webhooks."""

    roles: Mapping[str, frozenset[Role]]
    webhooks: Mapping[str, tuple[str, ...]]

    @classmethod
    def empty(cls) -> Self:
        """Return a list without anybody."""
        return cls({}, {})


def load_allow_list(path: Path) -> AllowList:
    """Read an allow-list.

    Raises:
        ValueError: The file can't be read, or is no allow-list; the message names the first fault.
    """
    try:
        text = path.read_bytes()
        if len(text) > _MAX_BYTES:
            raise ValueError(f"--allow-list {path} has more than {_MAX_BYTES:,} bytes")
        file = _File.model_validate(yaml.safe_load(text) or {})
    except OSError as error:
        raise ValueError(f"--allow-list {path} can't be read: {error.strerror or type(error).__name__}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ValueError(f"--allow-list {path} is not YAML") from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ValueError(f"--allow-list {path}: {where}: {fault['msg'].removeprefix('Value error, ')}") from None
    roles: dict[str, frozenset[Role]] = {}
    for person in file.principals:
        roles[person.email] = roles.get(person.email, frozenset()) | frozenset(person.roles)
    names = [webhook.name for webhook in file.webhooks]
    if len(set(names)) < len(names):
        raise ValueError(f"--allow-list {path}: two webhooks have one name")
    return AllowList(roles, {webhook.name: webhook.secrets for webhook in file.webhooks})
