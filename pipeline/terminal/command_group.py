"""The manners of every command: how it ends, and how its options may be spelled."""

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import typer
from typer import Abort, Exit, Typer, TyperException
from typer._click.core import Command, Context
from typer._click.exceptions import NoArgsIsHelpError
from typer.core import TyperGroup

from pipeline.terminal.help_pages import PlainCommand, PlainHelp
from pipeline.terminal.results import OutputFailed
from pipeline.terminal.signals import exit_code

SETTINGS: Final = {
    "help_option_names": ["-h", "--help"],
    # Beam spells its options with _, most commands spell theirs with -: either is understood everywhere.
    "token_normalize_func": lambda token: token.replace("_", "-"),
}
_BY_SIGPIPE: Final = 141
"""The exit code of a command whose reader has gone, as if SIGPIPE had ended it; Python ignores that signal."""


class CommandGroup(PlainHelp, TyperGroup):
    """A group of commands, which ends with one line for each error, and without a word if a signal ends it."""

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Return the command that a name means.

        Raises:
            UsageError: There is none.
        """
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and name.replace("_", "-") not in self.commands:
            from pipeline.terminal.usage import unknown_command  # noqa: PLC0415 - imports pydantic: 0.1 s

            raise unknown_command(name, self.commands, ctx)
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002, FBT001, FBT002 - as in TyperGroup
        windows_expand_args: bool = True,  # noqa: ARG002, FBT001, FBT002 - as in TyperGroup
        **extra: Any,
    ) -> NoReturn:
        """Run the command line, and exit with its code."""
        typed, name = list(sys.argv[1:] if args is None else args), prog_name or "rescore"
        try:
            self._main_shell_completion(extra, name, complete_var)
            code = self._run(typed, name, extra)
            sys.stdout.flush()
        except (OSError, OutputFailed) as error:
            code = _output_failed(error.__cause__ or error)
        except SystemExit as ended:
            # Completion has ended; or rich has, with 1, since nobody reads the help any more.
            code = _BY_SIGPIPE if ended.code == 1 else int(ended.code or 0)
        sys.exit(exit_code(code))

    def _run(self, typed: list[str], name: str, extra: dict[str, Any]) -> int:
        try:
            with self.make_context(name, typed, **extra) as context:
                self.invoke(context)
        except Exit as ended:
            return ended.exit_code
        except NoArgsIsHelpError as error:
            typer.echo(error.format_message())
            return error.exit_code
        except TyperException as error:
            from pipeline.terminal.usage import usage_line  # noqa: PLC0415 - imports pydantic: 0.1 s

            return _told(usage_line(error))
        except Abort:
            return _told("no answer was given: nothing was done")
        except KeyboardInterrupt:
            return 130
        return 0


def with_manners(app: Typer) -> None:
    """Give every command of an app the manners of this module."""
    for command in app.registered_commands:
        command.cls = PlainCommand
    for group in app.registered_groups:
        if group.typer_instance:
            with_manners(group.typer_instance)


def _output_failed(error: BaseException) -> int:
    """Return the exit code after an error of the output, and say what is wrong unless its reader has gone."""
    # What Python still holds would fail again at its end, with a traceback.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return _BY_SIGPIPE
    reason = getattr(error, "strerror", None) or type(error).__name__
    return _told(f"can't write the output: {reason[:1].lower()}{reason[1:]}: free some space, or write elsewhere")


def _told(message: str) -> int:
    try:
        sys.stderr.write("".join(f"rescore: {line}\n" for line in message.splitlines()))
        sys.stderr.flush()
    except OSError:  # nobody can be told; the exit code says it
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return 2
