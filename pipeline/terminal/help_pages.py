"""How help looks: plain type names, examples that can be copied, and no column that vanishes on a narrow terminal."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final

from typer._click.core import Command, Context, Parameter
from typer._click.formatting import HelpFormatter
from typer._click.shell_completion import CompletionItem
from typer.core import MarkupMode, TyperArgument, TyperCommand, TyperOption

NARROW: Final = 100
"""Below so many columns help is a list: the last of the five columns of typer's table would cut names off."""

_WHOLE: Final = 1_000
"""Characters of a command's first sentence, at most."""

_TYPES: Final = {int: "NUMBER", float: "NUMBER", bool: "", Path: "PATH"}
_CODE: Final = re.compile(r"([^`]*)`([^`]+)`")


class PlainHelp(Command):
    """What commands and groups share: put it before the class of typer."""

    rich_markup_mode: MarkupMode

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the parameters with plain type names."""
        return [with_plain_type(param) for param in super().get_params(ctx)]

    def get_help(self, ctx: Context) -> str:
        """Return the help, or print it if it is in columns."""
        width = shutil.get_terminal_size().columns
        if width >= NARROW:
            return str(super().get_help(ctx))
        ctx.terminal_width, ctx.formatter_class = width, _ListFormatter
        markup, self.rich_markup_mode = self.rich_markup_mode, None
        try:
            return str(super().get_help(ctx))
        finally:
            self.rich_markup_mode = markup

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first sentence, whole: the list of commands breaks lines by itself."""
        return str(super().get_short_help_str(max(limit, _WHOLE)))

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help, and the examples last: as they are typed, however wide the terminal is."""
        epilog, self.epilog = self.epilog or "", None
        try:
            super().format_help(ctx, formatter)
        finally:
            self.epilog = epilog
        if epilog:
            formatter.write("\n" if formatter.getvalue() else "")
            formatter.write("\n".join(f" {line}" for line in example_lines(epilog)))


class PlainCommand(PlainHelp, TyperCommand):
    """A command whose help is plain; completion knows the options that it passes on."""

    passed_on: ClassVar[Callable[[], Iterable[tuple[str, str]]]] = staticmethod(lambda: ())
    """Returns options, as they are typed, and what they mean."""

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Return what may follow."""
        items: list[CompletionItem] = super().shell_complete(ctx, incomplete)
        if not (self.context_settings.get("ignore_unknown_options") and incomplete.startswith("--")):
            return items
        known = {str(item.value) for item in items}
        more = [it for it in type(self).passed_on() if it[0].startswith(incomplete) and it[0] not in known]
        return [*items, *(CompletionItem(name, help=meaning) for name, meaning in more)]


class _ListFormatter(HelpFormatter):
    """Writes an option's name on a line of its own, and below it what it means."""

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 4, col_spacing: int = 2) -> None:
        super().write_dl(rows, col_max, col_spacing)


def example_lines(epilog: str) -> Iterator[str]:
    """Yield a line for each command in backticks, with the words before it; none is broken."""
    for words, command in _CODE.findall(epilog):
        before = words.strip().lstrip(".,;").strip()
        yield f"{before} {command}".strip()


def with_plain_type(param: Parameter) -> Parameter:
    """Give a parameter a plain type name in the help, such as NUMBER, unless it has a name of its own."""
    if isinstance(param, TyperArgument):
        # The name of an argument says what it is; typer would add its type, such as <path>.
        param.display_type_rich = lambda ctx: ""  # type: ignore[method-assign] # noqa: ARG005
    elif isinstance(param, TyperOption) and param.metavar is None:
        param.metavar = _type_name(param)
        param.min = param.max = None  # typer would show x>=1; what checks the value has its own copy
    return param


def _type_name(option: TyperOption) -> str:
    described = option.type_descriptor
    if described.choices is not None:
        return "|".join(map(str, described.choices))
    name = _TYPES.get(described.annotation, "TEXT")
    return f"{name}, {_range(option.min, option.max)}" if option.min is not None or option.max is not None else name


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return f"{most:,} or less"
    return f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
