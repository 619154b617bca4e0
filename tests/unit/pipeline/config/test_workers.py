"""What follows from the workers that a job may have: processes, shares of the limit of calls, the element timeout."""

import pytest
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, WorkerOptions

from pipeline.config.options import OptionError, RescoringConfig, complete_arguments, config_from
from pipeline.config.workers import share
from pipeline.run import too_few_calls

DATAFLOW = ("--project=my-project", "--runner=DataflowRunner")


def _config(*arguments: str) -> RescoringConfig:
    return config_from(PipelineOptions(complete_arguments(arguments)))


@pytest.mark.parametrize(
    ("arguments", "processes", "calls"),
    [
        (("--project=my-project",), 1, 256),
        (("--project=my-project", "--runner=pipeline.local.runner.LocalRunner", "--max_num_workers=8"), 1, 256),
        (DATAFLOW, 10, 25),
        ((*DATAFLOW, "--max_num_workers=4"), 4, 64),
        ((*DATAFLOW, "--num_workers=16"), 16, 16),
        ((*DATAFLOW, "--max_num_workers=4", "--max_calls_in_flight=10"), 4, 2),
        ((*DATAFLOW, "--max_num_workers=4", "--experiments=no_use_multiple_sdk_containers"), 4, 64),
        (
            (
                *DATAFLOW,
                "--max_num_workers=4",
                "--machine_type=n2-standard-8",
                "--experiments=use_multiple_sdk_containers",
            ),
            32,
            8,
        ),
    ],
)
def test_each_process_gets_its_share_of_the_jobs_calls(arguments: tuple[str, ...], processes: int, calls: int) -> None:
    """So that all processes that there can be stay within the limit together."""
    config = _config(*arguments)
    assert config.processes == processes
    assert config.gemini.max_calls_in_flight == calls
    assert calls * processes <= config.max_calls_in_flight


def test_the_shares_of_a_shadow_are_the_same() -> None:
    """Its calls have a limit of their own, of the same size: quotas are those of a model."""
    config = _config(*DATAFLOW, "--shadow_model=gemini-3.8-flash")
    assert config.shadow
    assert config.shadow.gemini.max_calls_in_flight == config.gemini.max_calls_in_flight == 25


def test_a_process_makes_at_least_one_call_at_a_time() -> None:
    """A limit below the number of processes can't hold: that is said."""
    assert share(3, 10) == 1
    config = _config(*DATAFLOW, "--max_calls_in_flight=3")
    assert config.gemini.max_calls_in_flight == 1
    assert too_few_calls(config).startswith("--max_calls_in_flight is 3 and the job can have 10 processes")


def test_processes_for_each_vcpu_need_their_number() -> None:
    """A share of an unknown number of processes would be a guess."""
    with pytest.raises(OptionError, match="set --machine_type to one whose name ends with their number"):
        _config(*DATAFLOW, "--experiments=use_multiple_sdk_containers", "--machine_type=e2-medium")


def test_a_job_on_dataflow_has_one_process_for_each_worker() -> None:
    """Beam asks for a process for each vCPU unless that is forbidden; what is given stays."""
    options = PipelineOptions(complete_arguments([*DATAFLOW, "--experiments=shuffle_mode=service"]))
    assert options.view_as(DebugOptions).experiments == ["shuffle_mode=service", "no_use_multiple_sdk_containers"]
    assert options.view_as(WorkerOptions).max_num_workers == 10
    given = [*DATAFLOW, "--experiments=use_multiple_sdk_containers", "--max_num_workers=3"]
    options = PipelineOptions(complete_arguments(given))
    assert options.view_as(DebugOptions).experiments == ["use_multiple_sdk_containers"]
    assert options.view_as(WorkerOptions).max_num_workers == 3
    local = PipelineOptions(complete_arguments(["--project=my-project"]))
    assert local.view_as(DebugOptions).experiments is None


@pytest.mark.parametrize(
    ("arguments", "minutes"),
    [
        ((), 30 + 2 * 15 + 10),
        (("--gemini_outage_deadline_seconds=7200", "--bigquery_outage_deadline_seconds=90"), 120 + 3 + 10),
        (("--element_processing_timeout_minutes=90",), 90),
        (("--element_processing_timeout_minutes=0",), 0),
    ],
)
def test_the_element_timeout_is_above_the_outage_deadlines(arguments: tuple[str, ...], minutes: int) -> None:
    """Beam would end a process whose batches wait, and the runner would repeat them; 0 is no timeout."""
    options = PipelineOptions(complete_arguments(["--project=my-project", *arguments]))
    config_from(options)
    assert options.view_as(WorkerOptions).element_processing_timeout_minutes == minutes


def test_an_element_timeout_below_the_outage_deadlines_is_refused() -> None:
    """The message says how many minutes are needed."""
    with pytest.raises(OptionError, match=r"--element_processing_timeout_minutes is 30, .* need 70: set it to that"):
        _config("--project=my-project", "--element_processing_timeout_minutes=30")
