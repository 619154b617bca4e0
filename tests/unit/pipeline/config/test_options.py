"""Options: defaults, paths, and errors with their remedies."""

import datetime as dt
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions
from pydantic import ValidationError

from pipeline.config.options import (
    OptionError,
    ShadowConfig,
    command_line,
    config_from,
    plain_error,
    unknown_arguments,
)
from pipeline.config.options_help import options_help
from pipeline.config.settings import read_settings
from transforms.admit.token_budget import BudgetAction, TokenBudget
from transforms.clients.redis import RedisSettings


def test_names_become_paths_of_the_project() -> None:
    """A short name becomes a path in the project; a path is kept."""
    config = config_from(PipelineOptions(["--project=my-project", "--dead_letter_topic=projects/other/topics/dead"]))
    assert config.subscription == "projects/my-project/subscriptions/account-changes-rescoring"
    assert config.dead_letter_topic == "projects/other/topics/dead"
    assert config.gemini.project == "my-project"


def test_the_engine_has_its_options() -> None:
    """Deadlines and the limit of a prompt's size come from the options."""
    gemini = config_from(
        PipelineOptions(
            [
                "--project=my-project",
                "--gemini_outage_deadline_seconds=60",
                "--call_deadline_seconds=7",
                "--max_prompt_tokens=900",
            ]
        )
    ).gemini
    assert (gemini.outage_deadline_seconds, gemini.deadline_seconds, gemini.max_prompt_tokens) == (60, 7, 900)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--project is missing"),
        (["--project=My Project"], "--project is 'My Project'"),
        (["--project=my-project", "--dataset=a-b"], "--dataset is 'a-b'"),
        (["--project=my-project", "--crm_dataset=crm`; --"], "--crm_dataset"),
        (["--project=my-project", "--subscription=projects/p/topics/x"], "--subscription"),
        (["--project=my-project", "--subscription=x y"], "--subscription"),
        (["--project=my-project", "--accounts_per_call=0"], "--accounts_per_call"),
        (["--project=my-project", "--batch_size=-1"], "--batch_size"),
        (["--project=my-project", "--prompt_version=v0"], "--prompt_version is 'v0': expected one of v1, v2"),
        (["--project=my-project", "--daily_token_budget=0"], "--daily_token_budget"),
        (["--project=my-project", "--shadow_prompt=v0"], "--shadow_prompt"),
        (["--project=my-project", "--shadow_model=gemini-3.5-flash-lite"], "name another"),
        (["--project=my-project", "--shadow_prompt=v1", "--shadow_percent=0"], "--shadow_percent"),
        (["--project=my-project", "--max_prompt_tokens=0"], "--max_prompt_tokens"),
        (["--project=my-project", "--call_deadline_seconds=0"], "--call_deadline_seconds"),
        (["--project=my-project", "--gemini_outage_deadline_seconds=-5"], "--gemini_outage_deadline_seconds"),
    ],
)
def test_a_bad_option_is_named(arguments: list[str], message: str) -> None:
    """The error names the option."""
    with pytest.raises(OptionError, match=message):
        config_from(PipelineOptions(arguments))


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line per problem: option, config source, value, and what is expected."""
    monkeypatch.setenv("SALESFORCE_SECRET", "changeme")
    table = tmp_path / "prices.yaml"
    table.write_text("models: 5\n")
    file = tmp_path / "rescoring.yaml"
    file.write_text("batch_size: many\nregion: Europe\nmodle: x\nlabels: {team: revops}\n")
    environment = {
        "RESCORE_ACCOUNTS_PER_CALL": "0",
        "RESCORE_SHADOW_PERCENTS": "5",
        "GOOGLE_CLOUD_PROJECT": "My Project",
    }
    arguments = [f"--config={file}", f"--prices={table}", "--skip_unchanged_contexts=perhaps", "--coalesce_seconds=500"]
    arguments += [
        "--colour=blue",
        "--salesforce_login_url=https://acme.my.salesforce.com",
        "--salesforce_secret=SALESFORCE_SECRET",
    ]
    line = command_line(arguments, environment)
    with pytest.raises(OptionError) as refusal:
        config_from(PipelineOptions(line.arguments), line)
    told = str(refusal.value)
    assert "changeme" not in told
    assert "GOOGLE_CLOUD_PROJECT is 'My Project': expected 6 to 30 lower-case letters" in told
    assert f"region in {file} is 'Europe': expected a region such as europe-west1" in told
    assert "RESCORE_ACCOUNTS_PER_CALL is '0': expected 1 or more" in told
    assert "--skip_unchanged_contexts is 'perhaps': expected true or false" in told
    assert f"batch_size in {file} is 'many': expected a whole number" in told
    assert str(table) in told
    assert "--salesforce_secret: the variable SALESFORCE_SECRET holds a placeholder: put the real one there" in told
    assert "--coalesce_max_seconds: 120 is less than --coalesce_seconds, which is 500" in told
    assert f"{file}: modle is not an option: did you mean model?" in told
    assert f"{file}: labels: expected text, a number, or a list of them" in told
    assert "the variable RESCORE_SHADOW_PERCENTS sets no option: did you mean RESCORE_SHADOW_PERCENT?" in told
    assert "--colour is not an option of this pipeline or of Beam: see rescore run --list-options" in told
    assert "--salesforce_login_url needs --salesforce_client_id, which is missing: add it, or leave it out" in told
    assert len(told.splitlines()) == 13


@pytest.mark.parametrize("option", ["--salesforce_secret=hunter2-it-is", "--salesforce_client_id=hunter2 it is"])
def test_a_secret_in_a_flag_is_refused_and_not_repeated(option: str) -> None:
    """A launch log never shows the value of a secret option; the message says what belongs there."""
    with pytest.raises(OptionError, match=option.partition("=")[0]) as refusal:
        config_from(PipelineOptions(["--project=my-project", option]))
    assert "hunter2" not in str(refusal.value)


def test_the_config_does_not_change() -> None:
    """Configuration and settings are frozen."""
    config = config_from(PipelineOptions(["--project=my-project"]))
    with pytest.raises(FrozenInstanceError):
        config.dataset = "other"  # type: ignore[misc]
    settings, _ = read_settings({"project": "my-project"}, str)
    with pytest.raises(ValidationError):
        settings.dataset = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--project=p", "--runner=DirectRunner", "--model=y", "--runner", "DirectRunner"], []),
        (["--modle=x"], ["--modle is not an option of this pipeline or of Beam: did you mean --model?"]),
        (["--modle", "x"], ["--modle is not an option of this pipeline or of Beam: did you mean --model?"]),
        (
            ["--list-opt"],
            ["--list-opt is not an option of this pipeline or of Beam: did you mean --list-options?"],
        ),
        (["--zzz"], ["--zzz is not an option of this pipeline or of Beam: see rescore run --list-options"]),
        (["positional", "--model=y"], ["'positional' is not an option: write options as --name=value"]),
        (["--streaming", "true"], ["'true' is not an option: write options as --name=value"]),
    ],
)
def test_arguments_that_nobody_knows_are_told(arguments: list[str], told: list[str]) -> None:
    """A misspelt option and a stray word; the word after an unknown option is taken for its value."""
    assert list(unknown_arguments(arguments, ["--list-options"])) == told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--num_workers=abc"], "--num_workers is 'abc': expected a whole number"),
        (["--autoscaling_algorithm=none"], "--autoscaling_algorithm is 'none': did you mean NONE?"),
        (["--flexrs_goal=x"], "--flexrs_goal is 'x': expected COST_OPTIMIZED or SPEED_OPTIMIZED"),
        (["--num_workers"], "--num_workers: expected one argument"),
    ],
)
def test_values_that_beam_cannot_read_are_one_line(arguments: list[str], told: str) -> None:
    """Beam by itself prints its usage and exits."""
    with pytest.raises(OptionError) as refusal:
        command_line(["--project=my-project", *arguments], {})
    assert str(refusal.value) == told


def test_other_errors_of_argparse_stay() -> None:
    """A new Python may word them in another way."""
    assert plain_error("not of the known form") == "not of the known form"


def test_options_may_be_spelled_with_hyphens(tmp_path: Path) -> None:
    """On the command line and in a file, Beam's and ours; values of choices, too."""
    file = tmp_path / "rescoring.yaml"
    file.write_text("batch-size: 7\nnum-workers: 3\n")
    ours = ["--dead-letter_topic=dead", "--daily-token-budget=5", "--budget-action=dead-letter"]
    line = command_line(["--project=my-project", f"--config={file}", *ours], {})
    config = config_from(PipelineOptions(line.arguments), line)
    assert config.dead_letter_topic == "projects/my-project/topics/dead"
    assert config.batching.max_accounts == 7
    assert config.budget is not None
    assert config.budget.action is BudgetAction.DEAD_LETTER
    assert PipelineOptions(line.arguments).view_as(WorkerOptions).num_workers == 3


def test_options_are_listed_with_their_defaults() -> None:
    """The help text lists each option with its default."""
    text = " ".join(options_help().split())  # wherever lines are broken
    assert "--subscription" in text
    assert "(default: account-changes-rescoring)" in text
    assert "--coalesce_seconds NUMBER" in text


def test_listed_options_say_which_values_they_take() -> None:
    """Choices, types, and the file that --config names; lines are broken at blanks only."""
    text = " ".join(options_help().split())
    for listed in (
        "--config FILE",
        "--budget_action wait|dead_letter",
        "--skip_unchanged_contexts true|false",
        "(default: true)",
        "--prompt_version v1|v2",
        "--prices PATH",
        "--model TEXT",
        "(default: gemini-3.5-flash-lite)",
    ):
        assert listed in text


def test_the_cache_and_the_outage_are_as_configured() -> None:
    """By default contexts are cached in the process only; 0 seconds disable the cache."""
    config = config_from(PipelineOptions(["--project=my-project"]))
    assert config.cache
    assert config.cache.redis is None
    assert config.unchanged_lookback == dt.timedelta(days=7)
    options = [
        "--redis_url=CACHE_REDIS_URL",
        "--bigquery_outage_deadline_seconds=5",
        "--skip_unchanged_contexts=false",
    ]
    config = config_from(PipelineOptions(["--project=my-project", *options]))
    assert config.cache
    assert config.cache.redis == RedisSettings("CACHE_REDIS_URL")
    assert config.outage.deadline_seconds == 5
    assert config.unchanged_lookback == dt.timedelta(0)
    assert config_from(PipelineOptions(["--project=my-project", "--context_cache_seconds=0"])).cache is None


def test_a_password_in_the_redis_url_is_refused_and_not_repeated() -> None:
    """The password is not repeated, because the Dataflow console and the process list show options."""
    with pytest.raises(OptionError, match="--redis_url has a password") as refusal:
        config_from(PipelineOptions(["--project=my-project", "--redis_url=redis://:planted-3K@cache:6379/0"]))
    assert "planted-3K" not in str(refusal.value)


@pytest.mark.parametrize(
    "option",
    [
        "--mirror_lag_seconds=-1",
        "--context_cache_seconds=-1",
        "--unchanged_context_days=-1",
        "--bigquery_outage_deadline_seconds=-1",
        "--redis_url=https://cache",
    ],
)
def test_an_impossible_value_is_named_with_its_option(option: str) -> None:
    """The error names the option."""
    with pytest.raises(OptionError, match=option.partition("=")[0]):
        config_from(PipelineOptions(["--project=my-project", option]))


def test_a_model_without_a_price_is_found_at_the_start(tmp_path: Path) -> None:
    """A misspelt model is found too, also the shadow's; the user's price table adds models."""
    for flag in ("--model", "--shadow_model"):
        with pytest.raises(OptionError, match="gemini-4-ultra has no price"):
            config_from(PipelineOptions(["--project=my-project", f"{flag}=gemini-4-ultra"]))
    table = tmp_path / "prices.yaml"
    table.write_text("models:\n  gemini-4-ultra: {input: 5, cached_input: 0.5, output: 20}\n")
    config = config_from(PipelineOptions(["--project=my-project", "--model=gemini-4-ultra", f"--prices={table}"]))
    assert config.price.output == 20


def test_a_shadow_is_the_same_but_for_its_model_and_prompt() -> None:
    """An unset shadow option equals the scoring one; without shadow options and budget there are none of these."""
    plain = config_from(PipelineOptions(["--project=my-project"]))
    assert plain.shadow is None
    assert plain.budget is None
    arguments = ["--project=my-project", "--shadow_prompt=v1", "--shadow_percent=20", "--daily_token_budget=5000000"]
    config = config_from(PipelineOptions([*arguments, "--budget_action=dead_letter", "--dataset=scores"]))
    assert config.shadow == ShadowConfig(replace(config.gemini, prompt_version="v1"), config.price, 20)
    assert config.budget == TokenBudget(5_000_000, BudgetAction.DEAD_LETTER, "my-project", "scores")
