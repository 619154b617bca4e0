"""`rescore run`: run the pipeline on the runner that the options name."""

import signal
import sys
from types import FrameType
from typing import Final

import apache_beam as beam
import structlog
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient
from apache_beam.runners.runner import PipelineResult, PipelineState
from apache_beam.utils.retry import PermanentException
from google.cloud import dataflow

from pipeline.config.options import OptionError, command_line, config_from
from pipeline.graph import build_graph, read_messages
from pipeline.resources.names import JOB_NAME

DEFAULT_ARGUMENTS: Final = ("--streaming", f"--job_name={JOB_NAME}", "--max_cache_memory_usage_mb=0")
"""A fixed job name, since only a job of the same name can be updated. No state cache: Beam measures the size of each
value that it caches, which takes half a millisecond (docs/adr/005)."""

ENDED_WELL: Final = frozenset({PipelineState.DONE, PipelineState.DRAINED, PipelineState.UPDATED})
"""States in which a job ended as intended: done, drained by an operator, or replaced by an update."""

_UPDATABLE: Final = frozenset({dataflow.JobState.JOB_STATE_RUNNING, dataflow.JobState.JOB_STATE_DRAINING})

_log = structlog.stdlib.get_logger(__name__)


def run(arguments: list[str]) -> bool:
    """Build the graph from command-line options, run it, and wait for its end unless `--no_wait_until_finish`.

    Args:
        arguments: Options of Beam and of this pipeline, as `--name=value`. The environment, and then the file that
            `--config` names, supply the options that are not given.

    Returns:
        False if the job failed while waiting for it; the reason is logged.

    Raises:
        OptionError: An option is unknown, missing or malformed, the job to update does not run, or the name is taken.
    """
    line = command_line(arguments)
    options = PipelineOptions([*DEFAULT_ARGUMENTS, *line.arguments])
    config = config_from(options, line)
    if options.view_as(GoogleCloudOptions).update:
        require_job_to_update(options)
    pipeline = beam.Pipeline(options=options)
    build_graph(read_messages(pipeline, config), config)
    # A Dataflow job continues without this process; the DirectRunner's threads end with it.
    signal.signal(signal.SIGTERM, _leave)
    try:
        result = pipeline.run()
    except PermanentException as error:  # the name is taken
        raise OptionError(f"{error} Or replace it: --update") from error
    return options.view_as(StandardOptions).no_wait_until_finish or ended_well(result)


def ended_well(result: PipelineResult) -> bool:
    """Wait for the end of a pipeline; return whether it is done, drained or updated."""
    try:
        result.wait_until_finish()
    except DataflowRuntimeException as error:
        if error.result.state in ENDED_WELL:
            return True
        _log.error("the job failed", state=error.result.state, reason=str(error))
        return False
    return True


def require_job_to_update(options: PipelineOptions) -> None:
    """Check that the job to update is running.

    Beam looks it up as well, but lists the jobs in an endless loop if it is not.

    Raises:
        OptionError: No job of this name runs in the region.
        GoogleAPICallError: The service did not answer.
    """
    google = options.view_as(GoogleCloudOptions)
    client = DataflowApplicationClient(options)._jobs_client  # noqa: SLF001 - the endpoint and credentials of Beam
    request = dataflow.ListJobsRequest(
        project_id=google.project, location=google.region, filter=dataflow.ListJobsRequest.Filter.ACTIVE
    )
    running = {job.name for job in client.list_jobs(request) if job.current_state in _UPDATABLE}
    if google.job_name not in running:
        raise OptionError(f"--update: no job {google.job_name} runs in {google.region}: start it without --update")


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
