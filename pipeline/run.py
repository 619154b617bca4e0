"""`rescore run`: run the pipeline on the runner that the options name."""

import logging
import re
import sys
from collections.abc import Sequence
from typing import Final

import apache_beam as beam
import structlog
from apache_beam.metrics.metric import MetricResults
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner, DataflowRuntimeException
from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient
from apache_beam.runners.runner import PipelineResult, PipelineState
from apache_beam.utils.retry import PermanentException
from google.cloud import dataflow

from pipeline.config.options import OptionError, RescoringConfig, command_line, complete_arguments, config_from
from pipeline.graph import build_graph, read_messages
from pipeline.resources.names import JOB_NAME
from pipeline.resources.services import check_dataset_answers, check_gemini, check_token
from pipeline.resources.subscriptions import check_subscription
from pipeline.terminal.heartbeat import heartbeat, say
from schemas.validation_errors import suggestion
from transforms.clients.bigquery import dataset_path
from transforms.parse.parse_change_events import STAGE as PARSE_STAGE
from transforms.write.publish_dead_letters import STAGE as DEAD_LETTERS_STAGE
from transforms.write.write_scores import SCORES_STAGE

DEFAULT_ARGUMENTS: Final = ("--streaming", f"--job_name={JOB_NAME}", "--max_cache_memory_usage_mb=0")
"""A fixed job name, since only a job of the same name can be updated. No state cache: Beam measures the size of each
value that it caches, which takes half a millisecond (docs/adr/005)."""

ENDED_WELL: Final = frozenset({PipelineState.DONE, PipelineState.DRAINED, PipelineState.UPDATED})
"""States in which a job ended as intended: done, drained by an operator, or replaced by an update."""

_UPDATABLE: Final = frozenset({dataflow.JobState.JOB_STATE_RUNNING, dataflow.JobState.JOB_STATE_DRAINING})

_RUNNER: Final = re.compile(r"\b\w+\b")
_COUNTED: Final = {
    (PARSE_STAGE, "messages_total"): "messages",
    (SCORES_STAGE, "rows_inserted_total"): "scores",
    (DEAD_LETTERS_STAGE, "letters_published_total"): "dead letters",
}
"""The counters that a heartbeat shows."""

_log = structlog.stdlib.get_logger(__name__)


def run(
    arguments: Sequence[str], own_flags: Sequence[str] = (), *, is_checked: bool = True, is_told: bool = True
) -> bool:
    """Build the graph from command-line options, run it, and wait for its end unless `--no_wait_until_finish`.

    Args:
        arguments: Options of Beam and of this pipeline, as `--name=value`. The environment, and then the file that
            `--config` names, supply the options that are not given.
        own_flags: The command's own options.
        is_checked: Whether to check that BigQuery and Gemini answer, if the pipeline runs in this process.
        is_told: Whether to say what the pipeline reads and writes.

    Returns:
        False if the job failed while waiting for it; the reason is logged.

    Raises:
        OptionError: An option is unknown, missing or malformed, the job to update does not run, or the name is taken.
        GoogleAuthError: The pipeline would run in this process, which has no credentials.
        PubSubUnavailable: It would run in this process, and Pub/Sub does not answer or has no such subscription.
        WarehouseUnavailable: The same of BigQuery and a dataset.
        GeminiUnreachable: The same of Gemini.
    """
    line = command_line(arguments, own_flags=own_flags)
    options = PipelineOptions(complete_arguments([*DEFAULT_ARGUMENTS, *line.arguments]))
    config = config_from(options, line)
    if options.view_as(GoogleCloudOptions).update:
        require_job_to_update(options)
    pipeline = pipeline_with(options)
    if not isinstance(pipeline.runner, DataflowRunner):  # there the workers read the subscription
        check_subscription(config.subscription)
        if is_checked:
            check_services(config)
    build_graph(read_messages(pipeline, config), config)
    if config.max_calls_in_flight < config.processes:
        _log.warning(too_few_calls(config))
    if is_told:
        announce(what_it_does(config))
    try:
        result = pipeline.run()
    except PermanentException as error:  # the name is taken
        raise OptionError(f"{error} Or replace it: --update") from error
    if options.view_as(StandardOptions).no_wait_until_finish:
        return True
    if isinstance(pipeline.runner, DataflowRunner):
        return ended_well(result)
    with heartbeat(lambda: counts_of(result)):
        return ended_well(result)


def announce(what: str) -> None:
    """Say on a terminal what the pipeline does; elsewhere it is an entry of the log, which by default has warnings."""
    say(f"{what}; Ctrl-C ends it")
    if not sys.stderr.isatty():
        logging.getLogger(__name__).setLevel(logging.INFO)
        _log.info(what)


def check_services(config: RescoringConfig) -> None:
    """Check that what a pipeline calls answers: the token endpoint, BigQuery, Gemini.

    Raises:
        GoogleAuthError: There is no access token.
        WarehouseUnavailable: BigQuery does not answer, or lacks a dataset.
        GeminiUnreachable: Gemini does not answer.
    """
    check_token()
    check_dataset_answers(config.project, config.dataset)
    check_dataset_answers(config.project, config.crm_dataset, "--crm_dataset")
    check_gemini(config.gemini)


def pipeline_with(options: PipelineOptions) -> beam.Pipeline:
    """Return an empty pipeline.

    Raises:
        OptionError: There is no such runner.
    """
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:
        runner, known = str(options.view_as(StandardOptions).runner), _RUNNER.findall(str(error))
        if runner not in known:
            raise
        meant = suggestion(runner, set(known) - {runner})
        raise OptionError(f"--runner is {runner!r}: " + (f"did you mean {meant}?" if meant else str(error))) from error


def what_it_does(config: RescoringConfig) -> str:
    """Return what a pipeline reads and writes."""
    model, prompt = config.gemini.model, config.gemini.prompt_version
    return (
        f"reads {config.subscription} and {dataset_path(config.project, config.crm_dataset)}, "
        f"scores with {model} and prompt {prompt}, writes {config.project}.{config.dataset} and "
        f"{config.dead_letter_topic}"
    )


def too_few_calls(config: RescoringConfig) -> str:
    """Return what a limit of calls means that is less than one for each process."""
    return (
        f"--max_calls_in_flight is {config.max_calls_in_flight} and the job can have {config.processes} processes: "
        f"each makes one call at a time, so there can be {config.processes}; lower --max_num_workers for fewer"
    )


def counts_of(result: PipelineResult) -> dict[str, int]:
    """Return how much a pipeline in this process has read and written."""
    counts = dict.fromkeys(_COUNTED.values(), 0)
    for counter in result.metrics().query()[MetricResults.COUNTERS]:
        name = _COUNTED.get((counter.key.metric.namespace, counter.key.metric.name))
        if name:
            counts[name] += counter.result
    return counts


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
