"""`rescore scores` and `rescore account`, as a user types them."""

import csv
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.local.stack import LocalStack
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from schemas.account_context import AccountProfile
from schemas.score import Impact, ScoreDriver
from schemas.tables import ACCOUNT_SCORES, ACCOUNTS, CHANGE_OUTCOMES
from tests.fixtures.changes import account_id
from tests.fixtures.ledger import ledger_row
from tests.fixtures.scores import score_row
from tests.fixtures.shared_servers import SharedServers

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
HOSTILE = ScoreDriver(factor="=cmd|'/c calc'!A1 \x1b[2J", impact=Impact.NEGATIVE, evidence="\x07")


@pytest.fixture(scope="module")
def stack(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Return a running stack with the scores of two accounts, one of which moved."""
    with servers.stack(tmp_path_factory.mktemp("stack")) as running:
        names = [AccountProfile(account_id=account_id(it), name=f"Company {it}", modified_at=NOW) for it in (1, 2, 3)]
        running.warehouse.replace_rows(CRM_DATASET, ACCOUNTS, names)
        scores = [
            score_row(1, 40, NOW - 9 * DAY),
            score_row(1, 95, NOW - 2 * DAY, event_ids=("e" * 32,)),
            score_row(2, 60, NOW - 2 * DAY, drivers=(HOSTILE,)),
        ]
        running.warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, scores)
        outcomes = [ledger_row(kind, "e" * 32, recorded_at=NOW - 2 * DAY) for kind in ("received", "scored")]
        running.warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, outcomes)
        yield running


def _rescore(*arguments: str) -> str:
    """Run the command as a process, and return its standard output."""
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout


def _in_process(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout


@pytest.mark.usefixtures("stack")
def test_the_highest_scores_and_what_moved_one() -> None:
    """Of the list's first account the report says what moved the score; of 15 characters an id is as good."""
    listed = json.loads(_rescore("scores", "--json"))
    assert [(it["name"], it["score"], it["tier"]) for it in listed["scores"]] == [
        ("Company 1", 95, "hot"),
        ("Company 2", 60, "warm"),
    ]
    assert dt.datetime.fromisoformat(listed["scores"][0]["scored_at"]) == NOW - 2 * DAY
    assert "T" in listed["scores"][0]["scored_at"]
    shown = json.loads(_in_process("scores", account_id(1)[:15], "--json"))
    assert (shown["account_id"], shown["current"]["score"]) == (account_id(1), 95)
    assert [(it["score"], it["cause"]) for it in shown["history"]] == [(95, "facts"), (40, "first_score")]
    moved = json.loads(_in_process("scores", "--moved-since", "7d", "--json"))
    assert [(it["name"], it["difference"]) for it in moved["scores"]] == [("Company 1", 55)]
    account = json.loads(_rescore("account", account_id(1), "--json"))
    assert [it["kind"] for it in account["entries"]] == ["score", "event", "outcome", "score"]


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("columns", [40, 60, 80])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scores"], ("95 hot", account_id(1), "Company 1", "2 days ago", "Favourable tone")),
        (["scores", "--moved-since", "7d"], ("+55", "95 hot", account_id(1), "Company 1")),
        (["scores", account_id(1)], ("+55 from 40 cool", "No email for 40 days", "the first score")),
        (["account", account_id(1)], ("e" * 32, "score 95 hot", "received", "modified")),
    ],
)
def test_reports_are_readable_at_any_width(arguments: list[str], said: tuple[str, ...], columns: int) -> None:
    """Every value is printed, ids are whole, no line is wider than the terminal or ends in blanks."""
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": str(columns)})
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    words = " ".join(done.stdout.split())
    assert [value for value in said if value not in words] == []
    assert [line for line in lines if len(line) > columns and "`" not in line] == []
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.usefixtures("stack")
def test_csv_is_pure_and_holds_no_formula() -> None:
    """One table on standard output; neither a spreadsheet nor a terminal obeys a text of the model."""
    done = _rescore("scores", "--csv")
    rows = list(csv.DictReader(done.splitlines()))
    assert [(row["account_id"], row["score"]) for row in rows] == [(account_id(1), "95"), (account_id(2), "60")]
    assert rows[1]["drivers"].startswith("'=cmd")
    assert "\x1b" not in done + _in_process("scores", account_id(2))
    history = list(csv.DictReader(_in_process("scores", account_id(1), "--csv").splitlines()))
    assert [(row["score"], row["previous_score"]) for row in history] == [("95", "40"), ("40", "")]


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["scores", account_id(3)], f"account {account_id(3)} is in the mirror and has no score"),
        (["scores", account_id(9)], "the mirror has no such account: is the id right?"),
        (["account", account_id(9)], f"nothing is known of account {account_id(9)}"),
    ],
)
def test_an_unknown_account_is_one_line_and_exit_2(arguments: list[str], remedy: str) -> None:
    """The line says what is known, and what to do."""
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert remedy in done.stderr


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["scores", "123"], "ACCOUNT is '123': not a record id"),
        (["account", "003000000000001AAA"], "expected it to start with 001"),
        (["scores", "--tier", "hott"], "did you mean 'hot'?"),
        (["scores", "--moved-since", "banana"], "--moved-since is 'banana'"),
        (["scores", "--moved-since", "600d"], "too early"),
        (["scores", "--csv", "--json"], "--csv and --json can't be combined"),
        (["scores", account_id(1), "--tier", "hot"], "--tier and --moved-since select accounts"),
        (["scores", "--crm-dataset", "a`b"], "--crm-dataset is 'a`b'"),
        (["scores", "--dataset", "a`b"], "--dataset is 'a`b'"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments: list[str], remedy: str) -> None:
    """Before BigQuery is asked."""
    done = CliRunner().invoke(app, [*arguments, "--project", "my-project"])
    assert done.exit_code == 2
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert remedy in lines[0]
