"""The pipeline's options: defaults, paths, and errors that say what to write."""

from dataclasses import replace
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.options import OptionError, ShadowConfig, config_from, options_help, unknown_flags
from transforms.prices import PricesError
from transforms.token_budget import BudgetAction, TokenBudget


def test_names_become_paths_of_the_project() -> None:
    """A short name is one of the project's; a path stays what it is."""
    config = config_from(PipelineOptions(["--project=my-project", "--dead_letter_topic=projects/other/topics/dead"]))
    assert config.subscription == "projects/my-project/subscriptions/account-changes-rescoring"
    assert config.dead_letter_topic == "projects/other/topics/dead"
    assert config.gemini.project == "my-project"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--project is missing"),
        (["--project=p-1", "--subscription=projects/p/topics/x"], "--subscription"),
        (["--project=p-1", "--subscription=x y"], "--subscription"),
        (["--project=p-1", "--accounts_per_call=0"], "--accounts_per_call"),
        (["--project=p-1", "--batch_size=-1"], "--batch_size"),
        (["--project=p-1", "--prompt_version=v0"], "--prompt_version is 'v0': one of v1, v2 is wanted"),
        (["--project=p-1", "--daily_token_budget=0"], "--daily_token_budget"),
        (["--project=p-1", "--shadow_prompt=v0"], "--shadow_prompt"),
        (["--project=p-1", "--shadow_model=gemini-3.5-flash-lite"], "name another"),
        (["--project=p-1", "--shadow_prompt=v1", "--shadow_percent=0"], "--shadow_percent"),
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


def test_a_model_without_a_price_is_found_at_the_start(tmp_path: Path) -> None:
    """So is a misspelt one, and a shadow's; a price table of one's own adds what it names."""
    for flag in ("--model", "--shadow_model"):
        with pytest.raises(PricesError, match="gemini-4-ultra has no price"):
            config_from(PipelineOptions(["--project=p-1", f"{flag}=gemini-4-ultra"]))
    table = tmp_path / "prices.yaml"
    table.write_text("models:\n  gemini-4-ultra: {input: 5, cached_input: 0.5, output: 20}\n")
    config = config_from(PipelineOptions(["--project=p-1", "--model=gemini-4-ultra", f"--prices={table}"]))
    assert config.price.output == 20


def test_a_shadow_is_the_same_but_for_its_model_and_prompt() -> None:
    """What is not named is what scores; without either there is no shadow, and without a budget no end of tokens."""
    plain = config_from(PipelineOptions(["--project=p-1"]))
    assert plain.shadow is None
    assert plain.budget is None
    arguments = ["--project=p-1", "--shadow_prompt=v1", "--shadow_percent=20", "--daily_token_budget=5000000"]
    config = config_from(PipelineOptions([*arguments, "--budget_action=dead_letter", "--dataset=scores"]))
    assert config.shadow == ShadowConfig(replace(config.gemini, prompt_version="v1"), config.price, 20)
    assert config.budget == TokenBudget(5_000_000, BudgetAction.DEAD_LETTER, "p-1", "scores")
