"""The picture of the job graph is the graph."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.config.options import config_from
from pipeline.graph import build_backfill
from pipeline.job_graph import document, edges, fused_stages, mermaid, pipeline_proto
from tests.fixtures.kept_coders import kept_coders, pickles

PAGE = Path(__file__).parents[3] / "docs" / "job-graph.md"
CONTEXTS = "Reshuffle of Batch accounts"
OPTIONS = ("--streaming", "--project=my-project")


class _Halves(beam.DoFn):
    def process(self, number: int) -> Iterator[object]:
        yield beam.pvalue.TaggedOutput("odd", number) if number % 2 else number


def _small_graph() -> Any:
    pipeline = beam.Pipeline()
    halves = (
        pipeline | "Count" >> beam.Create([1, 2]) | "Part" >> beam.ParDo(_Halves()).with_outputs("odd", main="even")
    )
    merged = (halves.odd, halves.even) | "Merge" >> beam.Flatten()
    _ = merged | "Key" >> beam.WithKeys("k") | "Batch" >> beam.GroupIntoBatches(2)
    return pipeline.to_runner_api()


def test_page_shows_the_pipeline_that_would_run() -> None:
    """A changed graph changes the page; `make generate` writes it."""
    assert PAGE.read_text(encoding="utf-8") == document()


def test_edges_name_the_output_that_feeds_a_step() -> None:
    """A side way out of a step is told from the main one."""
    found = edges(_small_graph())
    assert ("Count", "Part", "") in found
    assert ("Part", "Merge", "odd") in found
    assert ("Merge", "Key", "") in found


def test_what_keeps_state_is_told() -> None:
    """State within a step shows, however deep it is."""
    picture = mermaid(_small_graph()).splitlines()
    assert picture[0] == "flowchart TD"
    assert any(line.endswith('[("Batch")]') for line in picture)
    assert any(line.endswith('["Merge"]') for line in picture)


def test_stages_begin_where_elements_are_grouped() -> None:
    """A merged step is in the stages of all that feed it; state begins a stage of its own."""
    assert fused_stages(_small_graph()) == {
        "Count": ["Count"],
        "Reshuffle of Count": ["Count", "Part", "Merge", "Key"],  # Beam's Create has a Reshuffle
        "state of Batch": ["Batch"],
    }


def _backfill() -> Any:
    options = PipelineOptions([*OPTIONS[1:], "--shadow_prompt=v1"])
    pipeline = beam.Pipeline(options=options)
    messages = pipeline | beam.Impulse() | beam.Map(lambda _: PubsubMessage(b"x", {})).with_output_types(PubsubMessage)
    build_backfill(messages, config_from(options))
    return pipeline.to_runner_api()


def _streaming(*options: str) -> Callable[[], Any]:
    return partial(pipeline_proto, PipelineOptions([*OPTIONS, *options]))


GRAPHS: Mapping[str, Callable[[], Any]] = {
    "plain": _streaming(),
    "with a shadow": _streaming("--shadow_prompt=v1"),
    "with a budget, whose accounts wait": _streaming("--daily_token_budget=1", "--budget_action=wait"),
    "with a budget, whose accounts are given up": _streaming("--daily_token_budget=1", "--budget_action=dead_letter"),
    "bounded": _backfill,
}


@pytest.mark.parametrize("graph", GRAPHS)
def test_nothing_that_a_job_keeps_is_a_pickle(graph: str) -> None:
    """Neither a shuffle nor a state: a class with a new field could not read it after an update, for ever."""
    proto = GRAPHS[graph]()
    assert pickles(proto) == {}
    kept = kept_coders(proto)
    assert any(place.endswith("/GroupByKey") for place in kept)
    assert any("RecordCoder" in coder for coder in kept.values())
    if graph == "with a shadow":
        shuffled = kept["Score shadows/Part from scores/ReshufflePerKey/GroupByKey"]
        assert "ListCoder[EnrichedChangeCoder]" in shuffled


def test_a_pickle_in_a_shuffle_is_found() -> None:
    """A class without a registered coder is one."""
    pipeline = beam.Pipeline()
    items = pipeline | beam.Impulse() | beam.Map(lambda _: Path("x")).with_output_types(list[Path])
    _ = items | "Part" >> beam.Reshuffle()
    (place,) = pickles(pipeline.to_runner_api())
    assert place == "Part/ReshufflePerKey/GroupByKey"


def test_no_call_to_a_service_stands_behind_shared_state() -> None:
    """A key's state is worked on one work item at a time, so each of these calls must run beside others.

    Changes that an outage of Gemini left in state are called for from there: each batch has a key of its own.
    """
    stages = fused_stages(pipeline_proto(PipelineOptions(["--streaming", "--project=my-project"])))
    calling = {"Reread gaps", "Add account context", "Skip unchanged contexts", "Score accounts"}
    assert {begin for begin, steps in stages.items() if calling & set(steps)} == {
        "Reshuffle of Batch accounts",
        "Reshuffle changed contexts",
        "state of Score accounts",
    }
    assert stages["state of Score accounts"] == ["Score accounts", "All results", "Reshuffle results"]
    assert calling - {"Score accounts"} <= set(stages["Reshuffle of Batch accounts"])
    assert "Score accounts" in stages["Reshuffle changed contexts"]
    assert not {"Write scores", "Write dead letters"} & {*stages["Reshuffle changed contexts"], *stages[CONTEXTS]}


@pytest.mark.parametrize("graph", GRAPHS)
def test_nothing_that_waits_for_bigquery_is_fused_with_scoring(graph: str) -> None:
    """Answers that are paid for are committed before the next batch waits for its context or for an insert."""
    stages = fused_stages(GRAPHS[graph]())
    waiting = {"Reread gaps", "Add account context", "Skip unchanged contexts", "Write scores", "Write dead letters"}
    scoring = [set(steps) for steps in stages.values() if "Score accounts" in steps]
    assert scoring
    assert not any(waiting & steps for steps in scoring)
