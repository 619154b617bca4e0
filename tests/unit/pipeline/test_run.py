"""`rescore run`: how a job ends, and what that says to whoever waits."""

from dataclasses import dataclass

import pytest
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.runners.runner import PipelineState

from pipeline.run import ended_well


@dataclass
class _Job:
    """A Dataflow job's result; whatever its end is but DONE, waiting for it raises."""

    state: str

    def wait_until_finish(self) -> str:
        if self.state != PipelineState.DONE:
            raise DataflowRuntimeException(f"Dataflow pipeline failed. State: {self.state}", self)
        return self.state


@pytest.mark.parametrize(
    ("state", "well"),
    [
        (PipelineState.DONE, True),
        (PipelineState.DRAINED, True),
        (PipelineState.UPDATED, True),
        (PipelineState.FAILED, False),
        (PipelineState.CANCELLED, False),
    ],
)
def test_a_drained_or_updated_job_ended_well(state: str, *, well: bool) -> None:
    """Beam takes every end but DONE for a failure; a streaming job's proper ends are others."""
    assert ended_well(_Job(state)) is well
