"""The graph: the steps that an operator sees, and the walls of the house."""

import ast
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor

from pipeline.config.options import config_from
from pipeline.graph import build_backfill, build_graph, read_messages

ROOT = Path(__file__).parents[3]
SOURCES = [path for folder in ("schemas", "transforms", "pipeline") for path in (ROOT / folder).rglob("*.py")]


def test_steps_have_the_names_of_the_design() -> None:
    """The Dataflow console shows the design's flow."""
    options = PipelineOptions(["--streaming", "--project=my-project"])
    pipeline = beam.Pipeline(options=options)
    config = config_from(options)
    build_graph(read_messages(pipeline, config), config)
    labels = [node.full_label for node in pipeline._current_transform().parts]
    flow = [
        "Read change events",
        "Parse change events",
        "Drop immaterial changes",
        "Coalesce by account",
        "Tombstone deleted accounts",
        "Keep to budget",
        "Batch accounts",
        "Reread gaps",
        "Add account context",
        "Skip unchanged contexts",
        "Score accounts",
        "Write scores",
        "Write dead letters",
        "Write outcomes",
    ]
    assert [label for label in labels if label in flow] == flow


def test_a_shadow_is_scored_apart() -> None:
    """With a shadow there are two steps more, and nothing of theirs flows into outcomes or dead letters."""
    options = PipelineOptions(["--streaming", "--project=my-project", "--shadow_prompt=v1"])
    pipeline = beam.Pipeline(options=options)
    config = config_from(options)
    build_graph(read_messages(pipeline, config), config)
    steps = {node.full_label: node for node in pipeline._current_transform().parts}
    assert {"Score shadows", "Write shadows"} <= set(steps)
    shadow_outputs = set(steps["Score shadows"].outputs.values())
    readers = {label for label, node in steps.items() if shadow_outputs & set(node.inputs)}
    assert readers == {"Write shadows"}


def test_a_backfill_shares_the_flow_and_keeps_no_state() -> None:
    """The same steps from the batch on; nothing waits for a timer, which FnApiRunner would confuse with another's."""
    options = PipelineOptions(["--project=my-project"])
    pipeline = beam.Pipeline(options=options)
    messages = pipeline | beam.Create([PubsubMessage(b"x", {})])
    build_backfill(messages, config_from(options))
    labels = [node.full_label for node in pipeline._current_transform().parts]
    flow = ["Parse change events", "Batch accounts", "Add account context", "Score accounts", "Write outcomes"]
    assert [label for label in labels if label in flow] == flow
    assert "Coalesce by account" not in labels
    assert not _steps(pipeline, beam.GroupIntoBatches)


def test_a_stream_is_batched_over_bundles() -> None:
    """A stream's bundles are small: accounts and rows are gathered over them."""
    options = PipelineOptions(["--streaming", "--project=my-project"])
    pipeline = beam.Pipeline(options=options)
    build_graph(read_messages(pipeline, config_from(options)), config_from(options))
    assert len(_steps(pipeline, beam.GroupIntoBatches)) >= 3


def _steps(pipeline: beam.Pipeline, kind: type) -> list[str]:
    """Return the labels of a pipeline's steps of a kind, at any depth."""
    found: list[str] = []

    class Visitor(PipelineVisitor):
        def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
            if isinstance(transform_node.transform, kind):
                found.append(transform_node.full_label)

    pipeline.visit(Visitor())
    return found


@pytest.mark.parametrize(
    ("vendor", "home"),
    [
        ("aiohttp", "transforms/clients/gemini.py"),
        ("google.cloud.bigquery", "transforms/clients/bigquery.py"),
        ("pybreaker", "transforms/clients/circuit.py"),
        ("simple_salesforce", "transforms/clients/salesforce.py"),
        ("redis", "transforms/clients/redis.py"),
        ("google.cloud.aiplatform", "pipeline/evaluation/experiments.py"),
        ("google.cloud.secretmanager", "transforms/clients/secret_reader.py"),
        ("google.cloud.storage", "transforms/clients/cloud_storage.py"),
    ],
)
def test_a_vendor_has_one_home(vendor: str, home: str) -> None:
    """One module alone imports a vendor's client, so that its errors are mapped in one place."""
    importers = {path.relative_to(ROOT).as_posix() for path in SOURCES if vendor in _imports(path)}
    assert importers == {home}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2, 3)}
