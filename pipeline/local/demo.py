"""`rescore demo`: run sample events through the whole pipeline on a local stack, and report the outcomes."""

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from pipeline.local.child_process import data_folder, start_module, stop_process
from pipeline.local.demo_input import DemoInput, kept_events
from pipeline.local.demo_progress import DemoProgress, ProgressView
from pipeline.local.demo_result import DemoResult
from pipeline.local.next_steps import EVENTS_FILE
from pipeline.local.stack_processes import StackProcesses, stack_processes

_FEW_SHARDS: Final = ("--batch_shards=1", "--gap_delay_seconds=1")
"""The runner has one thread, so one shard fills batches best."""


def run_demo(
    demo_input: DemoInput,
    *,
    data_dir: Path | None,
    pipeline_options: tuple[str, ...] = (),
    view: ProgressView = ProgressView(),  # noqa: B008 - it has no state
) -> DemoResult:
    """Run events through a pipeline process on a new local stack, until each has its outcome.

    Args:
        demo_input: CRM to load and events to publish.
        data_dir: Folder to keep the warehouse and the events in; None: a temporary one.
        pipeline_options: Options of `rescore run`.
        view: Shows the progress.

    Raises:
        RuntimeError: The pipeline ended.
    """
    started = time.monotonic()
    view.show(DemoProgress("starting the stack and the pipeline"))
    with ExitStack() as parts:
        folder = parts.enter_context(data_folder(data_dir))
        processes = parts.enter_context(stack_processes(folder, is_kept=data_dir is not None))
        options = (*_FEW_SHARDS, *demo_input.coalescing, *pipeline_options)
        pipeline = parts.enter_context(_pipeline_process(processes, options, view.log))
        # The pipeline starts while this imports BigQuery's client, which takes a second.
        from pipeline.local.demo_run import run_events  # noqa: PLC0415

        if data_dir:
            demo_input = replace(demo_input, events=kept_events(demo_input.events, data_dir / EVENTS_FILE))
        result = run_events(processes, pipeline, demo_input, view, started=started)
        return replace(result, data_dir=data_dir, accounts_added=demo_input.accounts_added)


@contextmanager
def _pipeline_process(
    processes: StackProcesses, options: tuple[str, ...], log: Callable[[str], None] | None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `rescore run` as a child process, as in production; its log goes to `log`, or to standard error."""
    command = ("pipeline", "run", "--within-demo", f"--project={processes.project}", *options)
    environment = {**os.environ, **processes.environment}
    with ExitStack() as parts:
        output = parts.enter_context(_terminal(log)) if log else None
        process = start_module(*command, stdout=output or sys.stderr, stderr=output, env=environment)
        parts.callback(stop_process, process)
        yield process


@contextmanager
def _terminal(log: Callable[[str], None]) -> Iterator[int]:
    """Yield a pseudo-terminal: a process writes to it as to any terminal, and each line goes to `log`."""
    read_end, write_end = os.openpty()
    reader = threading.Thread(target=_copy_lines, args=(read_end, log), daemon=True)
    reader.start()
    try:
        yield write_end
    finally:
        os.close(write_end)
        reader.join()


def _copy_lines(read_end: int, log: Callable[[str], None]) -> None:
    """Pass on lines until nobody can write any more."""
    with open(read_end, encoding="utf-8", errors="replace") as lines:
        try:
            for line in lines:
                log(line.rstrip())
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux says that the other end is closed
                raise
