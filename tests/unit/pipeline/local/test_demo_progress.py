"""The progress of a demo on terminals of different widths, and in plain lines."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from pipeline.local.demo_progress import (
    PLAIN_SECONDS,
    UNCHANGED_SECONDS,
    DemoProgress,
    PlainProgress,
    ProgressView,
    counts_table,
    shown_progress,
)

AHEAD = DemoProgress(
    "rescoring",
    published=250,
    read=250,
    skipped=17,
    coalesced=48,
    scored=120,
    calls=30,
    written=80,
    dead_lettered=5,
)


def _lines(progress: DemoProgress, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(counts_table(progress))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_there_is_a_line_for_each_stage() -> None:
    """The lines have the order of the pipeline's steps, and say what is counted."""
    assert _lines(AHEAD, 60) == [
        " received         250  of 250 messages",
        " skipped           17  changes that need no score",
        " coalesced         48  into another change of the account",
        " scored           120  accounts in 30 calls to Gemini",
        " written           80  scores to BigQuery",
        " dead-lettered      5  to the dead-letter topic",
    ]


def test_a_narrow_terminal_cuts_off_what_is_counted() -> None:
    """Words and numbers stay, and each stage has one line, at 40 columns and at 30."""
    assert _lines(AHEAD, 40)[2] == " coalesced         48  into another ch…"
    for width in (40, 30):
        lines = _lines(AHEAD, width)
        assert [line.split()[:2] for line in lines] == [[word, str(count)] for word, count, _ in AHEAD.lines()]
        assert max(map(len, lines)) <= width


def test_the_lines_are_there_from_the_start() -> None:
    """Nothing moves when the first message is published."""
    assert [line.split()[1] for line in _lines(DemoProgress("starting"), 60)] == ["0"] * len(AHEAD.lines())


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _plain(clock: _Clock) -> tuple[PlainProgress, list[str]]:
    lines: list[str] = []
    return PlainProgress(lines.append, clock), lines


def test_a_stage_begins_with_a_plain_line() -> None:
    """A line says when it was written; before anything is published it has no counts."""
    clock = _Clock()
    view, lines = _plain(clock)
    for stage in ("starting", "starting", "loading"):
        view.show(DemoProgress(stage))
        clock.now += 1
    view.show(AHEAD)
    assert lines[:2] == ["rescore: 0 s: starting", "rescore: 2 s: loading"]
    counts = "received 250, skipped 17, coalesced 48, scored 120, written 80, dead-lettered 5"
    assert lines[2:] == [f"rescore: 3 s: rescoring: 250 messages, {counts}"]


def test_counts_are_written_now_and_then() -> None:
    """A change of the counts is written when some seconds have passed since the last line."""
    clock = _Clock()
    view, lines = _plain(clock)
    view.show(AHEAD)
    clock.now += PLAIN_SECONDS - 1
    view.show(replace(AHEAD, written=90))
    assert len(lines) == 1
    clock.now += 1
    view.show(replace(AHEAD, written=100))
    view.show(replace(AHEAD, written=110))
    assert len(lines) == 2
    assert "written 100" in lines[1]


def test_a_line_is_repeated_rarely() -> None:
    """A reader sees that a demo goes on in which nothing changes."""
    clock = _Clock()
    view, lines = _plain(clock)
    for _ in range(4):
        view.show(AHEAD)
        clock.now += UNCHANGED_SECONDS / 2
    assert [line.split(":")[1] for line in lines] == [" 0 s", f" {UNCHANGED_SECONDS:.0f} s"]


def _shown(*, on_terminal: bool, act: Callable[[ProgressView], None]) -> str:
    output = io.StringIO()
    console = Console(file=output, width=60, force_terminal=on_terminal, legacy_windows=False)
    with shown_progress(console) as view:
        act(view)
    return output.getvalue()


def test_a_terminal_shows_the_log_above_the_lines() -> None:
    """The pipeline's log lines are passed on, with their colours, and stay when the counts vanish."""

    def act(view: ProgressView) -> None:
        view.show(AHEAD)
        assert view.log
        view.log("\x1b[31mthe pipeline failed\x1b[0m")

    output = _shown(on_terminal=True, act=act)
    assert "dead-lettered" in output
    assert "the pipeline failed" in output
    assert output.rindex("\x1b[2K") > output.rindex("dead-lettered")  # the counts are erased at the end


def test_without_a_terminal_there_are_no_control_characters() -> None:
    """In a CI log the lines are plain, and the pipeline writes its log by itself."""

    def act(view: ProgressView) -> None:
        assert view.log is None
        view.show(DemoProgress("starting [the] stack"))
        view.show(AHEAD)

    first, second = _shown(on_terminal=False, act=act).splitlines()
    assert first.endswith(" s: starting [the] stack")
    assert second.endswith("written 80, dead-lettered 5")


def test_the_base_view_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A caller who wants no progress gets none."""
    view = ProgressView()
    view.show(AHEAD)
    assert view.log is None
    assert capsys.readouterr() == ("", "")
