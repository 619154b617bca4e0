"""What Dataflow wants beyond Beam's own runner: a job to update that exists, and ends told apart."""

from typing import Final

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient
from apache_beam.runners.runner import PipelineState
from google.cloud import dataflow

from pipeline.options import OptionError

ENDED_WELL: Final = frozenset({PipelineState.DONE, PipelineState.DRAINED, PipelineState.UPDATED})
"""How a streaming job may end: drained by an operator, or taken over by the job that updated it."""

_UPDATABLE: Final = frozenset({dataflow.JobState.JOB_STATE_RUNNING, dataflow.JobState.JOB_STATE_DRAINING})


def require_job_to_update(options: PipelineOptions) -> None:
    """See that `--update` has a job to take over.

    Beam looks the name up by itself, and asks for the list again and again, without an end, if nothing runs under it.

    Raises:
        OptionError: No job of the name runs in the region.
        GoogleAPICallError: The service did not answer.
    """
    google = options.view_as(GoogleCloudOptions)
    client = DataflowApplicationClient(options)._jobs_client  # noqa: SLF001 - the endpoint and credentials Beam will use
    request = dataflow.ListJobsRequest(
        project_id=google.project, location=google.region, filter=dataflow.ListJobsRequest.Filter.ACTIVE
    )
    running = {job.name for job in client.list_jobs(request) if job.current_state in _UPDATABLE}
    if google.job_name not in running:
        raise OptionError(f"--update: no job {google.job_name} runs in {google.region}: start it without --update")
