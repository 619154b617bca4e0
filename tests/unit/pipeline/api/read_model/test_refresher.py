"""The read model is kept as new as BigQuery: late rows, vanished rows, outages."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from pipeline.api.read_model.refresher import COMPARE_DAYS_EVERY, MIRROR_EVERY, WIDE_EVERY, Refresher
from pipeline.api.read_model.score_queries import AccountsRequest, account_history, account_row, list_accounts
from pipeline.api.read_model.source import HISTORY
from pipeline.api.read_model.store import MAX_COMPARISONS, NotFilled, ReadModel
from tests.fixtures.changes import account_id
from tests.fixtures.read_model import KeptSource, ids_of, profiles
from tests.fixtures.scores import score_row
from tests.fixtures.waiting import wait_until
from transforms.errors import WarehouseUnavailable

START: Final = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
MINUTE: Final = dt.timedelta(minutes=1)
DAY: Final = dt.timedelta(days=1)


class Served:
    """A read model, its source and its clock."""

    def __init__(self, folder: Path) -> None:
        self.now = START
        self.source = KeptSource(stored=[score_row(1, 40, START - DAY), score_row(2, 50, START - 2 * DAY)])
        self.model = ReadModel(folder)
        self.refresher = Refresher(self.model, self.source, now=lambda: self.now)

    def after(self, duration: dt.timedelta) -> list[str]:
        """Refresh after a time, and return the accounts that have a score."""
        self.now += duration
        self.refresher.refresh()
        return self.accounts()

    def accounts(self) -> list[str]:
        """Return the accounts that have a score, the highest first."""
        return ids_of(list_accounts(self.model, AccountsRequest(), self.now).rows)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Return a read model that was filled once."""
    made = Served(tmp_path)
    made.refresher.refresh()
    yield made
    made.model.close()


def test_new_scores_come_with_the_next_refresh(served: Served) -> None:
    """Only what is new is read, with a minute's overlap."""
    served.source.stored.append(score_row(3, 60, START + MINUTE))
    assert served.after(2 * MINUTE) == [account_id(number) for number in (3, 2, 1)]
    assert served.source.asked[-1][0] == START - DAY - MINUTE
    assert served.model.as_of == START + 2 * MINUTE
    served.after(MINUTE)
    assert served.source.asked[-1][0] == START


@pytest.mark.parametrize(("late", "after"), [(20 * MINUTE, WIDE_EVERY), (30 * DAY, COMPARE_DAYS_EVERY)])
def test_late_rows_come_too(served: Served, late: dt.timedelta, after: dt.timedelta) -> None:
    """Those of the last half hour within minutes, and all others within an hour."""
    served.source.stored.append(score_row(3, 60, START))
    served.after(MINUTE)
    served.source.stored.append(score_row(4, 70, START - late))
    assert account_id(4) not in served.after(MINUTE)
    assert account_id(4) in served.after(after)


def test_rows_that_vanished_go(served: Served) -> None:
    """As where a person had theirs erased: within an hour, with all that follows from them."""
    served.source.stored.append(score_row(1, 90, START - MINUTE))
    served.after(MINUTE)
    served.source.stored = served.source.stored[:2]
    served.after(COMPARE_DAYS_EVERY)
    assert [row[2] for row in account_history(served.model, account_id(1), 9).rows] == ["first_score"]
    served.source.stored = []
    assert served.after(COMPARE_DAYS_EVERY) == []
    assert account_row(served.model, account_id(1)) is None


def test_scores_become_too_old(served: Served) -> None:
    """As in the views, which read 400 days; what follows them is then a first score."""
    served.source.stored.append(score_row(2, 70, START + MINUTE))
    served.after(2 * MINUTE)
    assert served.after(HISTORY - DAY + MINUTE) == [account_id(2)]
    (row,) = account_history(served.model, account_id(2), 9).rows
    assert row[1:3] == (None, "first_score")


def test_an_outage_leaves_the_old_scores(served: Served) -> None:
    """With the time that they are of; afterwards all is as if it had not been."""
    served.source.is_down = True
    with pytest.raises(WarehouseUnavailable):
        served.after(MINUTE)
    assert (served.model.as_of, len(served.accounts())) == (START, 2)
    served.source.is_down = False
    served.source.stored.append(score_row(3, 60, START + MINUTE))
    assert len(served.after(MINUTE)) == 3


def test_an_outage_at_the_start_is_waited_out(tmp_path: Path) -> None:
    """Until then nothing can be asked; a part of the history is nothing."""
    served = Served(tmp_path)
    served.source.is_down = True
    with pytest.raises(WarehouseUnavailable):
        served.refresher.refresh()
    assert served.model.as_of is None
    with pytest.raises(NotFilled):
        served.model.compared_since(7, START)
    served.source.is_down = False
    served.refresher.refresh()
    assert len(served.accounts()) == 2
    served.model.close()


def test_the_mirror_follows(served: Served) -> None:
    """Names that came, changed and went; without a right to the mirror, scores have no names."""
    ids = [account_id(1), account_id(2)]
    served.source.accounts = profiles({ids[0]: "Alpha"}, START)
    served.after(MIRROR_EVERY)
    assert _names(served, "alpha") == [ids[0]]
    served.source.accounts = profiles({ids[0]: "Beta", ids[1]: "Alpha"}, START)
    served.after(MIRROR_EVERY)
    assert (_names(served, "alpha"), _names(served, "beta")) == ([ids[1]], [ids[0]])
    served.source.accounts = profiles({ids[0]: "Beta"}, START)
    served.after(MIRROR_EVERY)
    assert (_names(served, "alpha"), account_row(served.model, ids[1])) == ([], (*[None] * 6, True))
    served.source.is_mirror_forbidden = True
    served.after(MIRROR_EVERY)
    assert served.refresher.freshness.names_missing == "BigQuery: query: Forbidden 403"
    assert served.refresher.freshness.error is None


def _names(served: Served, search: str) -> list[str]:
    return ids_of(list_accounts(served.model, AccountsRequest(search=search), served.now).rows)


def _difference(served: Served, days: int) -> int | None:
    rows = list_accounts(served.model, AccountsRequest(days=days), served.now).rows
    difference: int | None = next(row[7] for row in rows if row[0] == account_id(1))
    return difference


def test_comparisons_move_with_time_and_late_rows(served: Served) -> None:
    """What an account had a day ago is another score tomorrow, and when an old row has come late."""
    served.source.stored.append(score_row(1, 90, START))
    served.after(MINUTE)
    assert _difference(served, 1) == 50
    served.after(DAY)
    assert _difference(served, 1) == 0
    served.source.stored.append(score_row(1, 60, START - 3 * DAY))
    served.after(COMPARE_DAYS_EVERY)
    assert _difference(served, 3) == 30
    assert served.model.compared_since(1, served.now) == served.now - DAY


def test_comparisons_are_bounded(served: Served) -> None:
    """However many numbers of days are asked for."""
    for days in range(1, 40):
        served.now += dt.timedelta(seconds=1)
        served.model.compared_since(days, served.now)
    served.after(MINUTE)
    kept = {days for (days,) in served.model.read("SELECT days FROM comparisons")}
    assert kept == set(range(40 - MAX_COMPARISONS, 40))


def test_a_refresher_runs_until_it_is_stopped(served: Served) -> None:
    """On its own thread; it tells of each attempt."""
    attempts: list[bool] = []
    done = Refresher(
        served.model,
        served.source,
        seconds=0.001,
        now=lambda: START,
        on_refresh=lambda _s, is_ok: attempts.append(is_ok),
    )
    done.start()
    wait_until(lambda: len(attempts) > 1)
    served.source.is_down = True
    wait_until(lambda: not attempts[-1])
    assert done.freshness.error == "BigQuery: query: ServiceUnavailable 503"
    done.stop()
    assert done.freshness.as_of == START
