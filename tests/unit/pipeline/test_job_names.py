"""Names on which a running job depends: renaming one of them breaks `--update`."""

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.transforms.userstate import get_dofn_specs

from pipeline.config.options import config_from
from pipeline.graph import build_graph, read_messages

NAMES = Path(__file__).parents[2] / "fixtures" / "job_names.txt"
OPTIONS = (
    "--project=my-project",
    "--streaming",
    "--shadow_model=gemini-3.8-flash",
    "--shadow_percent=5",
    "--daily_token_budget=1000000",
)


class _Names(PipelineVisitor):
    """Collects full labels, outputs, states and timers of our steps, at any depth."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        self._add(transform_node)

    def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
        self._add(transform_node)

    def _add(self, node: AppliedPTransform) -> None:
        # What Beam names within its own steps (after "util.py:LINE", for instance) is Beam's to keep.
        if not node.full_label or "<lambda at " in node.full_label:
            return
        outputs = sorted(str(tag) for tag in node.outputs if tag is not None)
        self.lines.append(" ".join([node.full_label, *(f"output={tag}" for tag in outputs)]))
        if isinstance(node.transform, beam.ParDo):
            states, timers = get_dofn_specs(node.transform.fn)
            self.lines += sorted(f"  state={spec.name}" for spec in states)
            self.lines += sorted(f"  timer={spec.name}" for spec in timers)


def _names() -> list[str]:
    pipeline = beam.Pipeline(options=PipelineOptions([*OPTIONS]))
    config = config_from(PipelineOptions([*OPTIONS]))
    build_graph(read_messages(pipeline, config), config)
    names = _Names()
    pipeline.visit(names)
    return names.lines


def test_no_name_of_a_running_job_has_changed() -> None:
    """Dataflow matches a job's steps, states and timers with its replacement's by name.

    Source: https://cloud.google.com/dataflow/docs/guides/updating-a-pipeline#Compatibility. A name that must change
    needs a drain, and the file tests/fixtures/job_names.txt a new line.
    """
    assert _names() == NAMES.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", ["state=account", "timer=ts-burst_end", "timer=ts-account_expiry"])
def test_the_names_include_coalescing_state(name: str) -> None:
    """The state that outlives a release is among them."""
    assert any(name in line for line in _names())
