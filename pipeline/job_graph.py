"""The job graph as a picture: Mermaid, drawn from the pipeline that would run, as Beam hands it to a runner.

python -m pipeline.job_graph docs/job-graph.md     # `make generate` does
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2

from pipeline.config.options import config_from
from pipeline.graph import build_graph, read_messages

_MAIN_OUTPUTS: Final = frozenset({"None", "main"})
_EXAMPLE_OPTIONS: Final = ("--streaming", "--project=my-project")

_DOCUMENT: Final = """\
# The job graph

Drawn by `make generate` from the pipeline as Beam hands it to a runner; a test compares. A box is a step of the
Dataflow console, by the name under which its metrics and its state are kept: renaming one needs a transform-name
mapping at the next update ([deployment](deployment.md)). A drum keeps state. A label on an arrow is the output that
feeds it, where that is not the main one.

```mermaid
{graph}
```

{steps} steps, which hold {transforms} transforms.
"""


def pipeline_proto(options: PipelineOptions) -> Any:
    """Return the pipeline that the options describe as Beam's proto; nothing is read and nothing called."""
    pipeline = beam.Pipeline(options=options)
    config = config_from(options)
    build_graph(read_messages(pipeline, config), config)
    return pipeline.to_runner_api()


def top_steps(proto: Any) -> dict[str, Any]:
    """Return the steps of the graph as the console shows them before one is opened, in order, by transform id."""
    transforms = proto.components.transforms
    (root,) = proto.root_transform_ids
    return {step: transforms[step] for step in transforms[root].subtransforms}


def edges(proto: Any) -> list[tuple[str, str, str]]:
    """Return (from, to, output) between top steps, by label; a main output's name is empty."""
    steps = top_steps(proto)
    made_by = {
        collection: (step.unique_name, "" if output in _MAIN_OUTPUTS else output)
        for step in steps.values()
        for output, collection in step.outputs.items()
    }
    return [
        (maker, step.unique_name, output)
        for step in steps.values()
        for maker, output in (made_by[collection] for _, collection in sorted(step.inputs.items()))
    ]


def leaves(proto: Any, step: str) -> Iterator[Any]:
    """Yield the transforms within a step that do the work; a step without parts is one itself."""
    transform = proto.components.transforms[step]
    if not transform.subtransforms:
        yield transform
    for part in transform.subtransforms:
        yield from leaves(proto, part)


def keeps_state(proto: Any, step: str) -> bool:
    """Whether anything within a step has state or timers, which an update must find again."""
    pardos = (leaf for leaf in leaves(proto, step) if leaf.spec.urn == common_urns.primitives.PAR_DO.urn)
    payloads = (beam_runner_api_pb2.ParDoPayload.FromString(pardo.spec.payload) for pardo in pardos)
    return any(payload.state_specs or payload.timer_family_specs for payload in payloads)


def mermaid(proto: Any) -> str:
    """Return the graph of top steps as a Mermaid flowchart; what keeps state is drawn as a drum."""
    steps = top_steps(proto)
    name = {step.unique_name: f"s{place}" for place, step in enumerate(steps.values())}
    boxes = [
        f'  {name[step.unique_name]}[("{step.unique_name}")]'
        if keeps_state(proto, step_id)
        else f'  {name[step.unique_name]}["{step.unique_name}"]'
        for step_id, step in steps.items()
    ]
    arrows = [
        f"  {name[maker]} -->{f'|{output}|' if output else ''} {name[taker]}" for maker, taker, output in edges(proto)
    ]
    return "\n".join(["flowchart TD", *boxes, *arrows])


def document() -> str:
    """Return the page of the docs that shows the graph of the default options."""
    proto = pipeline_proto(PipelineOptions([*_EXAMPLE_OPTIONS]))
    steps = top_steps(proto)
    return _DOCUMENT.format(
        graph=mermaid(proto), steps=len(steps), transforms=sum(1 for step in steps for _ in leaves(proto, step))
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
