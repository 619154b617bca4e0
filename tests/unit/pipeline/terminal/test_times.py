"""Times and durations as users type them."""

import datetime as dt

import pytest

from pipeline.terminal.times import ago, moment, parse_day, parse_duration, parse_since, parse_time, parse_until, spoken

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800), (" 1w ", 604_800), ("0m", 0)]
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: int) -> None:
    """Each unit is its first letter."""
    assert parse_duration(text, "--grace").total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "1.5h", "-1h", "15 minutes", "1h30m", "٣h"])
def test_other_texts_are_refused_with_an_example(text: str) -> None:
    """The message shows how a duration is written."""
    with pytest.raises(ValueError, match="such as 15m"):
        parse_duration(text, "--grace")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("24h", dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)),
        ("2026-03-01", dt.datetime(2026, 3, 1, tzinfo=dt.UTC)),
        ("2026-03-01T09:30", dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)),
        ("2026-03-01T09:30:00Z", dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)),
        ("2026-03-01 09:30+02:00", dt.datetime(2026, 3, 1, 7, 30, tzinfo=dt.UTC)),
    ],
)
def test_since_is_a_duration_or_an_iso_time(text: str, time: dt.datetime) -> None:
    """Durations count back from now; times without a zone are UTC."""
    assert parse_since(text, NOW, "--since") == time


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "999999w", "0001-01-01T00:00+14:00"])
def test_what_is_not_a_time_is_refused_with_an_example(text: str) -> None:
    """Times out of range, too."""
    with pytest.raises(ValueError, match="7d"):
        parse_since(text, NOW, "--since")


def test_an_error_names_the_flag() -> None:
    """The user knows the value by the flag."""
    with pytest.raises(ValueError, match="--until is 'later': expected a duration such as 7d"):
        parse_until("later", NOW, "--until")
    with pytest.raises(ValueError, match="--as-of is 'later': expected a time such as"):
        parse_time("later", NOW, "--as-of")
    with pytest.raises(ValueError, match="--grace is 'later': expected a number and"):
        parse_duration("later", "--grace")
    with pytest.raises(ValueError, match="--as-of is '2026-03-02T09:30': expected a day such as 2026-03-02"):
        parse_day("2026-03-02T09:30", NOW.date(), "--as-of")
    assert parse_day(" 2026-03-02 ", NOW.date(), "--as-of") == dt.date(2026, 3, 2)


@pytest.mark.parametrize("text", ["0d", "2026-03-02T12:00Z", "2099-01-01"])
def test_a_start_is_in_the_past(text: str) -> None:
    """Of now or a time to come there is nothing to find, and a backfill as of then outlives every real change."""
    with pytest.raises(
        ValueError, match=r"--since is '.*', which is not in the past \(now is 2026-03-02 12:00:00 UTC\)"
    ):
        parse_since(text, NOW, "--since")
    assert parse_until(text, NOW, "--until") >= NOW
    if not text.endswith("d"):
        with pytest.raises(ValueError, match=r"--as-of is '.*', which is not in the past"):
            parse_time(text, NOW, "--as-of")


def test_a_day_is_today_at_the_latest() -> None:
    """What happens on later ones is not known."""
    with pytest.raises(ValueError, match=r"--as-of is '2026-03-03', which is in the future: today is 2026-03-02"):
        parse_day("2026-03-03", NOW.date(), "--as-of")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (59.9, "just now"),
        (60, "1 minute ago"),
        (3_599, "59 minutes ago"),
        (7_200, "2 hours ago"),
        (86_400, "1 day ago"),
        (400 * 86_400, "400 days ago"),
        (-7_200, "in 2 hours"),
        (-5, "just now"),
    ],
)
def test_people_read_how_long_ago_a_time_is(seconds: float, text: str) -> None:
    """In the largest unit of which it is at least one, rounded down."""
    assert ago(NOW - dt.timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (90, "90 seconds"),
        (900, "15 minutes"),
        (3_600, "1 hour"),
        (172_800, "2 days"),
    ],
)
def test_durations_are_spoken_in_their_largest_unit(seconds: int, text: str) -> None:
    """Of which they are a whole number."""
    assert spoken(dt.timedelta(seconds=seconds)) == text


def test_a_moment_is_in_utc() -> None:
    """Logs are, too."""
    assert moment(dt.datetime(2026, 3, 2, 10, 30, 1, 999, tzinfo=dt.timezone(dt.timedelta(hours=1)))) == (
        "2026-03-02 09:30:01"
    )
