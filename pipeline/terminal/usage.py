"""Errors of usage in one line, with the way out: typer's own are five lines and a box."""

import re
from collections.abc import Iterable
from typing import Any, Final

from pydantic import ValidationError
from typer import BadParameter, TyperException
from typer._click.core import Context, Parameter
from typer._click.exceptions import BadOptionUsage, MissingParameter, NoSuchOption, UsageError

from pipeline.terminal.choices import did_you_mean
from schemas.validation_errors import problem, suggestion

_SHOWN_CHARACTERS: Final = 60
_EXTRA: Final = re.compile(r"Got unexpected extra argument\(s\) \((.*)\)", re.DOTALL)
_MISSING: Final = {
    "project": "name the Google Cloud project, such as --project my-project, or set GOOGLE_CLOUD_PROJECT",
}
"""What to do where a parameter's help does not say it."""


def usage_line(error: TyperException) -> str:
    """Return what is wrong with a command line, and the way out."""
    context = error.ctx if isinstance(error, UsageError) else None
    if isinstance(error, BadOptionUsage):
        return f"{error.option_name} needs a value, such as {error.option_name}=VALUE"
    if context is None:
        return error.format_message()
    if isinstance(error, BadParameter) and error.param is not None:
        is_missing = isinstance(error, MissingParameter)
        return _missing(error.param, context) if is_missing else _bad_value(error, error.param)
    return _unknown(error, context)


def _unknown(error: TyperException, context: Context) -> str:
    if isinstance(error, NoSuchOption):
        known = [name for param in context.command.get_params(context) for name in (*param.opts, *param.secondary_opts)]
        return f"{_lacks(context)} option {error.option_name}: {way_out(error.option_name, known, _see(context))}"
    extra = _EXTRA.fullmatch(error.message)
    return f"{_path(context)} takes no argument {extra[1]}: {_see(context)}" if extra else error.message


def unknown_command(name: str, known: Iterable[str], context: Context) -> UsageError:
    """Return the error of a command that does not exist."""
    return UsageError(
        f"{_lacks(context)} command {name}: {way_out(name.replace('_', '-'), known, _see(context))}", context
    )


def way_out(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return the known name that is probably meant, as a question, or else another way out."""
    meant = suggestion(name, known)
    return f"did you mean {meant}?" if meant else otherwise


def _missing(param: Parameter, context: Context) -> str:
    text = getattr(param, "help", None) or ""
    meaning = f" ({text.rstrip('.')})" if text and param.name not in _MISSING else ""
    return f"{_label(param)} is missing{meaning}: {_MISSING.get(param.name, _see(context))}"


def _bad_value(error: BadParameter, param: Any) -> str:
    """Return the line of a value that typer, with pydantic, refused."""
    if not isinstance(error.__cause__, ValidationError):
        return f"{_label(param)}: {error.message}"
    first = error.__cause__.errors(include_url=False)[0]
    value, choices = str(first["input"])[:_SHOWN_CHARACTERS], param.type_descriptor.choices
    if choices is None:
        return f"{_label(param)} is {value!r}: {problem(first)}"
    known = list(map(str, choices))
    return f"{_label(param)} is {value!r}: expected one of {', '.join(known)}{did_you_mean(value, known)}"


def _label(param: Parameter) -> str:
    """Return the parameter as it is typed."""
    long = [name for name in param.opts if name.startswith("--")]
    return long[0] if long else (param.metavar or param.name).removesuffix("...")


def _lacks(context: Context) -> str:
    path = _path(context)
    return f"{path} has no" if path else "there is no"


def _path(context: Context) -> str:
    """Return the command's name without that of the program."""
    return context.command_path.partition(" ")[2]


def _see(context: Context) -> str:
    return f"see {context.command_path} --help"
