"""The pipeline's options: defaults, paths, and errors that say what to write."""

import datetime as dt

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.options import OptionError, config_from, options_help, unknown_flags
from pipeline.write_scores import ScoreWriteMethod
from transforms.redis_store import RedisSettings


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
        (["--project=My Project"], "--project is 'My Project'"),
        (["--project=my-project", "--dataset=a-b"], "--dataset is 'a-b'"),
        (["--project=my-project", "--crm_dataset=crm`; --"], "--crm_dataset"),
        (["--project=my-project", "--subscription=projects/p/topics/x"], "--subscription"),
        (["--project=my-project", "--subscription=x y"], "--subscription"),
        (["--project=my-project", "--accounts_per_call=0"], "--accounts_per_call"),
        (["--project=my-project", "--batch_size=-1"], "--batch_size"),
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


def test_the_cache_and_the_outage_are_as_configured() -> None:
    """By default contexts are cached in the process alone; zero seconds switch the cache off."""
    config = config_from(PipelineOptions(["--project=my-project"]))
    assert config.cache
    assert config.cache.redis is None
    assert config.unchanged_lookback == dt.timedelta(days=7)
    assert config.score_write_method is ScoreWriteMethod.STREAMING_INSERTS
    options = [
        "--redis_url=CACHE_REDIS_URL",
        "--bigquery_outage_deadline_seconds=5",
        "--skip_unchanged_contexts=false",
        "--score_write_method=STORAGE_WRITE_API_AT_LEAST_ONCE",
    ]
    config = config_from(PipelineOptions(["--project=my-project", *options]))
    assert config.cache
    assert config.cache.redis == RedisSettings("CACHE_REDIS_URL")
    assert config.outage.deadline_seconds == 5
    assert config.unchanged_lookback == dt.timedelta(0)
    assert config.score_write_method is ScoreWriteMethod.STORAGE_WRITE_API_AT_LEAST_ONCE
    assert config_from(PipelineOptions(["--project=my-project", "--context_cache_seconds=0"])).cache is None


def test_a_password_in_the_redis_url_is_refused_and_not_repeated() -> None:
    """Options are shown in Dataflow's console, and in the process list."""
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
    """The error says which option to mend."""
    with pytest.raises(OptionError, match=option.partition("=")[0]):
        config_from(PipelineOptions(["--project=my-project", option]))


def test_the_untested_way_to_write_says_so() -> None:
    """Whoever lists the options reads what has never been run."""
    text = " ".join(options_help().split())
    assert "STORAGE_WRITE_API_AT_LEAST_ONCE has never been run by this project" in text
