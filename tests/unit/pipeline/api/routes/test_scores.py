"""Scores over HTTP: lists, an account, its history, and how old the answers are."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.api.documents import AccountDocument, HistoryDocument, ScoreListDocument
from pipeline.api.read_model.refresher import Freshness
from schemas.account_context import AccountProfile
from tests.fixtures.api import ApiClient, api, bearer
from tests.fixtures.changes import account_id
from tests.fixtures.read_model import KeptSource
from tests.fixtures.scores import score_row

NOW: Final = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
DAY: Final = dt.timedelta(days=1)


def _source() -> KeptSource:
    return KeptSource(
        stored=[
            score_row(1, 40, NOW - 9 * DAY),
            score_row(1, 93, NOW - DAY),
            score_row(2, 60, NOW - 9 * DAY),
            score_row(3, 70, NOW - 9 * DAY),
            score_row(3, None, NOW - 2 * DAY),
            score_row(5, 0, NOW - DAY, drivers=()),
        ],
        accounts=[
            AccountProfile(
                account_id=account_id(number), name=name, owner_id="005A", industry="Energy", modified_at=NOW
            )
            for number, name in ((1, "Quillon Travel AG"), (4, "<script>alert(1)</script>"), (5, "شركة"))
        ],
    )


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """Return a client of an app with four accounts that have, or had, a score."""
    with api(tmp_path_factory.mktemp("model"), _source(), NOW) as made:
        yield made


def _get(client: ApiClient, path: str) -> Any:
    answer = client.get(path, headers=bearer())
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_list_says_whom_to_call_and_why(client: ApiClient) -> None:
    """The highest first, with what moved it."""
    document = _get(client, "/v1/scores?moved_days=7&moved_at_least=0")
    ScoreListDocument.model_validate(document)
    assert (document["accounts"], document["next_cursor"], document["is_stale"]) == (3, None, False)
    assert (document["as_of"], document["compared_with"]) == ("2026-03-02T09:30:00Z", "2026-02-23T09:30:00Z")
    first, second, third = document["items"]
    assert (first["account_id"], first["name"], first["industry"]) == (account_id(1), "Quillon Travel AG", "Energy")
    assert first["score"]["recommended_action"] == "Call the decision maker"
    assert first["moved"] == {
        "previous_score": 40,
        "previous_tier": "cool",
        "difference": 53,
        "moved_at": "2026-03-01T09:30:00Z",
        "cause": "facts",
        "because": "the account context changed: Rating",
    }
    assert (second["moved"]["difference"], second["moved"]["because"]) == (0, "it did not move")
    assert (third["score"]["score"], third["score"]["drivers"], third["moved"]) == (0, [], None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 5]),
        ("moved_days=7", [1]),
        ("moved_days=7&moved_at_least=54", []),
        ("tier=hot&tier=cold", [1, 5]),
        ("owner=005A&industry=Energy", [1, 5]),
        ("industry=None", []),
        ("search=quillon", [1]),
        ("sort=score&limit=1", [5]),
        ("deleted=true", [3]),
        ("deleted=true&moved_days=7&sort=-moved", [3]),
    ],
)
def test_filters_choose(client: ApiClient, query: str, expected: list[int]) -> None:
    """By tier, owner, industry, name, movement; deleted accounts apart."""
    document = _get(client, f"/v1/scores?{query}")
    ScoreListDocument.model_validate(document)
    assert [it["account_id"] for it in document["items"]] == [account_id(number) for number in expected]


@pytest.mark.parametrize("deleted", ["false", "true"])
def test_cursors_lead_through_all(client: ApiClient, deleted: str) -> None:
    """The last page has none."""
    found: list[str] = []
    query = f"/v1/scores?limit=1&deleted={deleted}"
    cursor: str | None = ""
    while cursor is not None:
        document = _get(client, f"{query}{f'&cursor={cursor}' if cursor else ''}")
        found += [it["account_id"] for it in document["items"]]
        cursor = document["next_cursor"]
    assert len(found) == len(set(found)) == document["accounts"] == (1 if deleted == "true" else 3)


def test_an_account_has_its_score_and_what_changed(client: ApiClient) -> None:
    """By its id of 15 or of 18 characters."""
    document = _get(client, f"/v1/accounts/{account_id(1)[:15]}")
    AccountDocument.model_validate(document)
    assert (document["account_id"], document["state"], document["movements"]) == (account_id(1), "scored", 2)
    changed = document["what_changed"]
    assert (changed["difference"], changed["previous"]["score"]) == (53, 40)
    assert changed["because"] == "the account context changed: Rating"
    assert document["score"] == changed["score"]


@pytest.mark.parametrize(("number", "state"), [(3, "deleted"), (4, "no_score")])
def test_an_account_without_a_score_says_why(client: ApiClient, number: int, state: str) -> None:
    """It was deleted, or it is in the mirror and nothing else is known."""
    document = _get(client, f"/v1/accounts/{account_id(number)}")
    AccountDocument.model_validate(document)
    assert (document["state"], document["score"]) == (state, None)


def test_a_history_has_pages(client: ApiClient) -> None:
    """A deletion is a movement without a score."""
    document = _get(client, f"/v1/accounts/{account_id(3)}/scores?limit=1")
    HistoryDocument.model_validate(document)
    (newest,) = document["items"]
    assert (newest["cause"], newest["score"]["score"], newest["previous"]["score"]) == ("deleted", None, 70)
    after = _get(client, f"/v1/accounts/{account_id(3)}/scores?limit=1&cursor={document['next_cursor']}")
    assert [it["cause"] for it in after["items"]] == ["first_score"]
    assert after["next_cursor"] is None
    assert _get(client, f"/v1/accounts/{account_id(4)}/scores")["items"] == []


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        (f"/v1/accounts/{account_id(9)}", 404, "is the id right"),
        (f"/v1/accounts/{account_id(9)}/scores", 404, "is the id right"),
        ("/v1/accounts/001000000000001AAZ", 422, "with its checksum"),
        ("/v1/accounts/0010000000000011", 422, "match pattern"),
        ("/v1/accounts/005000000000001", 422, "match pattern"),
        ("/v1/accounts/x", 422, "at least 15"),
        ("/v1/accounts/00100000000000%00", 422, "match pattern"),
        ("/v1/scores?sort=-moved", 422, "needs moved_days"),
        ("/v1/scores?limit=201", 422, "query.limit"),
        ("/v1/scores?moved_days=401", 422, "query.moved_days"),
        ("/v1/scores?cursor=nonsense", 422, "no cursor"),
        ("/v1/scores?tier=lukewarm", 422, "query.tier"),
    ],
)
def test_what_can_not_be_answered_is_a_problem(client: ApiClient, path: str, status: int, message: str) -> None:
    """With what was expected."""
    answer = client.get(path, headers=bearer())
    assert answer.status_code == status
    assert message in answer.text


def test_old_scores_say_that_they_are_old(tmp_path: Path) -> None:
    """While BigQuery does not answer, they are served with the reason; before the first filling there are none."""
    told = [Freshness(NOW - dt.timedelta(minutes=5), "BigQuery: query: ServiceUnavailable 503")]
    with api(tmp_path, _source(), NOW, freshness=lambda: told[-1]) as client:
        document = _get(client, "/v1/scores")
        assert (document["is_stale"], document["stale_because"]) == (True, "BigQuery: query: ServiceUnavailable 503")
        assert client.get("/readyz").status_code == 200
        told.append(Freshness())
        for path in ("/v1/scores", f"/v1/accounts/{account_id(1)}", "/readyz"):
            answer = client.get(path, headers=bearer())
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
