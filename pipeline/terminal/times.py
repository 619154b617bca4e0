"""Times and durations as users type and read them."""

import datetime as dt
import re
from typing import Final

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_LENGTHS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def rfc3339(time: dt.datetime) -> str:
    """Return a time as `--json` prints every time: RFC 3339 in UTC, such as 2026-03-02T09:30:00Z."""
    utc = time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    return utc.isoformat().replace("+00:00", "Z")


def parse_duration(text: str, flag: str) -> dt.timedelta:
    """Return the duration that a text such as 15m, 24h or 7d gives.

    Raises:
        ValueError: The text is not a duration; the message names the flag.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{flag} is {text!r}: expected a number and s, m, h, d or w, such as 15m or 24h")
    return dt.timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse_since(text: str, now: dt.datetime, flag: str) -> dt.datetime:
    """Return the past time that a text gives: a duration before now, or an ISO date or time, UTC if it has no zone.

    Raises:
        ValueError: The text is neither, out of range, or not in the past; the message names the flag.
    """
    return _past(parse_until(text, now, flag), text, now, flag, "7d or 2026-03-02T09:30Z")


def parse_until(text: str, now: dt.datetime, flag: str) -> dt.datetime:
    """Return the time that a text gives, which may be to come: as `parse_since`.

    Raises:
        ValueError: The text is no time, or out of range; the message names the flag.
    """
    try:
        return now - parse_duration(text, flag) if _DURATION.fullmatch(text.strip()) else _time(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{flag} is {text!r}: expected a duration such as 7d, or a time such as 2026-03-02T09:30Z"
        ) from None


def parse_time(text: str, now: dt.datetime, flag: str) -> dt.datetime:
    """Return the past time that an ISO text gives, UTC if it has no zone.

    Raises:
        ValueError: The text is not a time, or not in the past; the message names the flag.
    """
    try:
        time = _time(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{flag} is {text!r}: expected a time such as 2026-03-02T09:30Z") from None
    return _past(time, text, now, flag, "2026-03-02T09:30Z")


def parse_day(text: str, today: dt.date, flag: str) -> dt.date:
    """Return the day that an ISO date gives: today, or one before.

    Raises:
        ValueError: The text is not a day, or one that is to come; the message names the flag.
    """
    try:
        day = dt.date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{flag} is {text!r}: expected a day such as 2026-03-02") from None
    if day > today:
        raise ValueError(f"{flag} is {text!r}, which is in the future: today is {today} (UTC)")
    return day


def _time(text: str) -> dt.datetime:
    time = dt.datetime.fromisoformat(text.strip())
    return (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)


def _past(time: dt.datetime, text: str, now: dt.datetime, flag: str, example: str) -> dt.datetime:
    if time >= now:
        raise ValueError(f"{flag} is {text!r}, which is not in the past (now is {moment(now)} UTC): such as {example}")
    return time


def spoken(duration: dt.timedelta) -> str:
    """Return a duration for people, in the largest unit of which it is a whole number: 15 minutes, 90 seconds."""
    seconds = int(duration.total_seconds())
    length, unit = next(
        ((length, unit) for length, unit in _LENGTHS if seconds and not seconds % length), (1, "second")
    )
    return f"{seconds // length} {unit}{'' if seconds == length else 's'}"


def ago(time: dt.datetime, now: dt.datetime) -> str:
    """Return how long ago a time is, for people: 5 minutes ago, 2 days ago; `in 2 days` if it is to come."""
    seconds = (now - time).total_seconds()
    for length, unit in _LENGTHS:
        if count := int(abs(seconds) // length):
            text = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    return "just now"


def moment(time: dt.datetime) -> str:
    """Return a time to the second in UTC, for people who compare it with logs."""
    return f"{time.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"
