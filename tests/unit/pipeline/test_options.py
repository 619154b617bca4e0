"""The pipeline's options: defaults, paths, and errors that say what to write."""

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.options import OptionError, config_from, options_help, unknown_flags
from transforms.generation import TransportKind


def test_names_become_paths_of_the_project() -> None:
    """A short name is one of the project's; a path stays what it is."""
    config = config_from(PipelineOptions(["--project=my-project", "--dead_letter_topic=projects/other/topics/dead"]))
    assert config.subscription == "projects/my-project/subscriptions/account-changes-rescoring"
    assert config.dead_letter_topic == "projects/other/topics/dead"
    assert config.gemini.project == "my-project"


def test_the_engine_has_its_options() -> None:
    """How patient it is with Gemini, and what carries its calls."""
    gemini = config_from(
        PipelineOptions(
            [
                "--project=p-1",
                "--gemini_outage_deadline_seconds=60",
                "--call_deadline_seconds=7",
                "--max_prompt_tokens=900",
                "--gemini_transport=sdk",
            ]
        )
    ).gemini
    assert (gemini.outage_deadline_seconds, gemini.deadline_seconds, gemini.max_prompt_tokens) == (60, 7, 900)
    assert gemini.transport is TransportKind.SDK


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--project is missing"),
        (["--project=p-1", "--subscription=projects/p/topics/x"], "--subscription"),
        (["--project=p-1", "--subscription=x y"], "--subscription"),
        (["--project=p-1", "--accounts_per_call=0"], "--accounts_per_call"),
        (["--project=p-1", "--batch_size=-1"], "--batch_size"),
        (["--project=p-1", "--max_prompt_tokens=0"], "--max_prompt_tokens"),
        (["--project=p-1", "--call_deadline_seconds=0"], "--call_deadline_seconds"),
        (["--project=p-1", "--gemini_outage_deadline_seconds=-5"], "--gemini_outage_deadline_seconds"),
    ],
)
def test_a_bad_option_is_named(arguments: list[str], message: str) -> None:
    """The error names the option."""
    with pytest.raises(OptionError, match=message):
        config_from(PipelineOptions(arguments))


def test_flags_that_nobody_knows_are_found() -> None:
    """A misspelt flag is told; Beam's and ours are known."""
    assert unknown_flags(["--project=p", "--runner=DirectRunner", "--modle=x", "--model=y"]) == ["--modle=x"]


def test_options_are_listed_with_their_defaults() -> None:
    """Whoever runs the pipeline sees each option of ours, and what it is unless they say otherwise."""
    text = " ".join(options_help().split())  # wherever lines are broken
    assert "--subscription" in text
    assert "(default: account-changes-rescoring)" in text
    assert "--coalesce_seconds" in text
