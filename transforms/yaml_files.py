"""YAML files that operators write, read strictly: errors name the file, the key path and the remedy."""

from collections.abc import Collection
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from schemas.validation_errors import key_path, problem, suggestion

M = TypeVar("M", bound="FileModel")


class YamlFileError(ValueError):
    """A file can't be used; the message is one line."""


class FileModel(BaseModel):
    """A mapping in a YAML file: unknown keys are refused, and values are not converted between types."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_known_keys(cls, content: Any) -> Any:
        for key in content if isinstance(content, dict) else ():
            known_key(key, cls.model_fields)
        return content


def known_key(key: object, known: Collection[str]) -> str:
    """Return a key that is one of the known ones.

    Raises:
        ValueError: It is not; the message suggests the one that is probably meant.
    """
    if isinstance(key, str) and key in known:
        return key
    meant = suggestion(str(key), known)
    raise ValueError(f"unknown key {key!r}: " + (f"did you mean {meant}?" if meant else f"expected {', '.join(known)}"))


def read_yaml(path: Path | Traversable, model: type[M]) -> M:
    """Return a file's content as a model.

    Raises:
        YamlFileError: The file can't be read, is empty, is not YAML, or does not fit the model.
    """
    content = load_yaml(path)
    if content is None:
        raise YamlFileError(f"{path}: the file is empty: add {' or '.join(model.model_fields)}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = f"{key_path(first['loc'])}: " if first["loc"] else ""
        raise YamlFileError(f"{path}: {where}{problem(first)}") from None


def load_yaml(path: Path | Traversable) -> Any:
    """Return what `yaml.safe_load` makes of a file, duplicate keys refused; dates stay text.

    Raises:
        YamlFileError: The file can't be read or is not YAML; the message has line and column where YAML tells them.
    """
    try:
        loader = _StrictLoader(path.read_bytes().decode("utf-8-sig"))
        return loader.get_single_data()
    except OSError as error:
        # One of the operating system has a number and no remedy; one of Cloud Storage has its own.
        remedy = "" if error.errno is None else ": name a YAML file"
        raise YamlFileError(f"{path}: can't be read: {error.strerror}{remedy}") from error
    except UnicodeDecodeError:
        raise YamlFileError(f"{path}: not UTF-8: save the file as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        cause = " ".join(filter(None, (error.context, error.problem)))
        raise YamlFileError(f"{path}{where}: {cause}: {_remedy(cause)}") from None
    except yaml.reader.ReaderError as error:
        raise YamlFileError(f"{path}: control character U+{error.character:04X}: remove it") from None
    except RecursionError:
        raise YamlFileError(f"{path}: nested too deeply: remove the nesting") from None
    except ValueError as error:
        raise YamlFileError(f"{path}: {error}") from None  # such as a number of more digits than Python converts


def _remedy(cause: str) -> str:
    if "alias" in cause:
        return 'quote text that starts with *, such as "*__c"'
    return "merge the two entries" if "duplicate key" in cause else "correct the YAML"


class _StrictLoader(yaml.SafeLoader):
    """Refuses duplicate keys, of which plain YAML keeps the last; leaves dates to the models."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        keys = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value!r}", key.start_mark)
            keys.add(key.value)
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
