"""What `rescore demo` says to look at next: at most three commands, which work when they are copied."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.text import Text

KEPT_FOLDER: Final = Path("demo-data")
"""Where the demo is told to keep its data if it did not."""

EVENTS_FILE: Final = "events.jsonl"
"""The events in the folder that the demo keeps."""


class NextStep(NamedTuple):
    """A command, and what it shows."""

    command: str
    shows: str


def next_steps(program: str, options: Mapping[str, Any], data_dir: Path | None) -> list[NextStep]:
    """Return the commands.

    Args:
        program: What to type for `rescore`.
        options: The options that the demo was called with, to be repeated, by name.
        data_dir: Folder that the demo kept its data in; None: it kept none.
    """
    if data_dir:
        return [
            NextStep(_line(program, "explain", data_dir / EVENTS_FILE), "what is decided about each event, and why"),
            NextStep(
                _line(program, "local", "--data-dir", data_dir),
                "prints exports, with which rescore scores shows these scores",
            ),
        ]
    again = (part for option in options.items() for part in option)
    return [
        NextStep(_line(program, "demo", *again, "--data-dir", KEPT_FOLDER), "the same, and keeps events and scores"),
        NextStep(_line(program, "local"), "Pub/Sub, BigQuery and Gemini for your own events"),
        NextStep(_line(program, "--help"), "all commands"),
    ]


def render_next_steps(steps: Iterable[NextStep]) -> Text:
    """Return each command on a line of its own, to be printed with `soft_wrap`: a wrapped command can't be copied."""
    text = Text("what to look at next", style="bold")
    for step in steps:
        text.append(f"\n  {step.command}", style="not bold green").append(f"\n    {step.shows}", style="not bold dim")
    return text


def _line(program: str, *arguments: Any) -> str:
    return f"{program} {shlex.join(map(str, arguments))}"
