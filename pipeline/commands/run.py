"""`rescore run`: the pipeline, on whichever runner the options name."""

import signal
import sys
from types import FrameType
from typing import Final

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.graph import build_graph, read_messages
from pipeline.options import OptionError, config_from, unknown_flags

WORKER_DEFAULTS: Final = ("--max_cache_memory_usage_mb=0",)
"""Beam measures what it puts into its cache of state, at half a millisecond a value: see docs/adr/005."""


def run(arguments: list[str]) -> None:
    """Build the graph from command-line options, run it, and wait for its end.

    Args:
        arguments: Beam's options and ours, `--name=value` each.

    Raises:
        OptionError: An option is unknown, missing or malformed.
    """
    if unknown := unknown_flags(arguments):
        raise OptionError(f"{unknown[0]} is no option of the pipeline or of Beam: see rescore run --list-options")
    options = PipelineOptions(["--streaming", *WORKER_DEFAULTS, *arguments])
    config = config_from(options)
    pipeline = beam.Pipeline(options=options)
    build_graph(read_messages(pipeline, config), config)
    # A Dataflow job goes on without this process; the DirectRunner's threads end with it.
    signal.signal(signal.SIGTERM, _leave)
    result = pipeline.run()
    result.wait_until_finish()


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
