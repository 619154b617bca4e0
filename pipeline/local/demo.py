"""`rescore demo`: run sample events through the whole pipeline on a local stack, and report the outcomes."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from pipeline.local.child_process import start_module, stop_process
from pipeline.local.demo_input import DemoInput
from pipeline.local.demo_progress import DemoProgress, OnProgress
from pipeline.local.demo_result import DemoResult
from pipeline.local.stack_processes import StackProcesses, stack_processes

_FEW_SHARDS: Final = ("--batch_shards=1", "--gap_delay_seconds=1")
"""The runner has one thread, so one shard fills batches best."""


def run_demo(
    demo_input: DemoInput,
    *,
    data_dir: Path | None,
    pipeline_options: tuple[str, ...] = (),
    on_progress: OnProgress = lambda _progress: None,
) -> DemoResult:
    """Run events through a pipeline process on a new local stack, until each has its outcome.

    Args:
        demo_input: CRM to load and events to publish.
        data_dir: Folder to keep the warehouse in; None: a temporary one.
        pipeline_options: Options of `rescore run`.
        on_progress: Called with the progress, several times a second.

    Raises:
        RuntimeError: The pipeline ended.
    """
    started = time.monotonic()
    on_progress(DemoProgress("starting Pub/Sub, BigQuery, Gemini and the pipeline"))
    with ExitStack() as parts:
        folder = data_dir or Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="rescore-")))
        processes = parts.enter_context(stack_processes(folder, is_kept=data_dir is not None))
        options = (*_FEW_SHARDS, *demo_input.coalescing, *pipeline_options)
        pipeline = parts.enter_context(_pipeline_process(processes, options))
        # The pipeline starts while this imports BigQuery's client, which takes a second.
        from pipeline.local.demo_run import run_events  # noqa: PLC0415

        result = run_events(processes, pipeline, demo_input, on_progress, started=started)
        return replace(result, data_dir=data_dir)


@contextmanager
def _pipeline_process(processes: StackProcesses, options: tuple[str, ...]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `rescore run` as a child process, as in production."""
    process = start_module(
        *("pipeline", "run", f"--project={processes.project}", *options),
        stdout=sys.stderr,
        env={**os.environ, **processes.environment},
    )
    try:
        yield process
    finally:
        stop_process(process)
