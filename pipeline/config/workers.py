"""What follows from the workers that a job may have: processes, their share of a limit, Beam's element timeout."""

import math
import re
from typing import Final

from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, StandardOptions, WorkerOptions

from pipeline.config.settings import Settings

DEFAULT_MAX_WORKERS: Final = 10
"""Of a job on Dataflow that names no maximum; without one, a share would be unknown. Terraform has the same default."""

MANY_PROCESSES: Final = "use_multiple_sdk_containers"
"""The experiment with which Dataflow starts a process for each vCPU. Beam adds it unless it is forbidden."""

ONE_PROCESS: Final = f"no_{MANY_PROCESSES}"
TIMEOUT_MARGIN_MINUTES: Final = 10

_VCPUS: Final = re.compile(r"-([0-9]{1,3})(?:-[a-z]+)?$")


def is_on_dataflow(options: PipelineOptions) -> bool:
    """Return whether the options name the Dataflow runner."""
    return str(options.view_as(StandardOptions).runner or "").rpartition(".")[2].lower() == "dataflowrunner"


def _experiments(options: PipelineOptions) -> set[str]:
    """Return the experiments; a template passes them in one text, separated by commas."""
    given = options.view_as(DebugOptions).experiments or []
    return {one for text in given for one in text.split(",")}


def worker_arguments(options: PipelineOptions, settings: Settings) -> list[str]:
    """Return the options of Beam that a job needs and that are not given.

    They are the element timeout, and on Dataflow a maximum of workers, and one process for each.
    """
    workers = options.view_as(WorkerOptions)
    added = []
    if workers.element_processing_timeout_minutes is None:
        added.append(f"--element_processing_timeout_minutes={needed_minutes(settings)}")
    if is_on_dataflow(options):
        if not _experiments(options) & {MANY_PROCESSES, ONE_PROCESS}:
            added.append(f"--experiments={ONE_PROCESS}")
        if workers.max_num_workers is None:
            added.append(f"--max_num_workers={max(DEFAULT_MAX_WORKERS, workers.num_workers or 1)}")
    return added


def processes_of(options: PipelineOptions) -> int:
    """Return how many processes a pipeline can have at most; 1 unless it runs on Dataflow.

    Raises:
        ValueError: It depends on the machine type's vCPUs, which are unknown.
    """
    if not is_on_dataflow(options):
        return 1
    workers = options.view_as(WorkerOptions)
    machines = workers.max_num_workers or DEFAULT_MAX_WORKERS
    if MANY_PROCESSES not in _experiments(options):
        return int(machines)
    vcpus = _VCPUS.search(workers.machine_type or "")
    if vcpus is None:
        raise ValueError(
            f"--experiments={MANY_PROCESSES} starts a process for each vCPU: set --machine_type to one whose name ends "
            "with their number, such as n2-standard-2, or leave the experiment out"
        )
    return int(machines) * int(vcpus[1])


def share(total: int, processes: int) -> int:
    """Return each process's share of a limit of the job; at least 1, without which a process could do nothing."""
    return max(1, total // processes)


def needed_minutes(settings: Settings) -> int:
    """Return the element timeout that is above every wait of ours in one element, one after the other."""
    seconds = settings.gemini_outage_deadline_seconds + 2 * settings.bigquery_outage_deadline_seconds
    return math.ceil(seconds / 60) + TIMEOUT_MARGIN_MINUTES


def check_element_timeout(options: PipelineOptions, settings: Settings) -> None:
    """Check that Beam's element timeout, after which a worker process ends itself, is above our deadlines.

    Raises:
        ValueError: It is below them: held work would be repeated instead of dead-lettered.
    """
    given, needed = options.view_as(WorkerOptions).element_processing_timeout_minutes, needed_minutes(settings)
    if given is not None and 0 < given < needed:
        raise ValueError(
            f"--element_processing_timeout_minutes is {given}, and the outage deadlines of Gemini and BigQuery need "
            f"{needed}: set it to that or more, or leave it out"
        )
