"""Changes of custom fields that are noise in every entity: coordinates, and the times at which installed packages work.

A package's time is told from a business's by the words of its name: `ns__LastSyncedDate__c` is when the package last
did its work, `ns__Last_Gift_Date__c` when a customer gave. A word of software's housekeeping is required. Where an
event brings the new value, that must be a time, too. In doubt a change is material: it costs one look at the account,
while a change that is dropped is lost.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

from schemas.change_event import EPOCH_MS_2000, EPOCH_MS_2100, RecordChange


class Noise(StrEnum):
    """A kind of noise, as `materiality.yaml` names it."""

    COORDINATES = "coordinates"
    """Street and coordinates of custom addresses, and geolocations."""
    PACKAGE_TIMES = "package_times"
    """Times at which an installed package did something by itself."""


_PART: Final = re.compile(
    r"\w+__p?c\.(?:Street|Latitude|Longitude|GeocodeAccuracy)"
    r"|\w+__(?:Street|Latitude|Longitude|GeocodeAccuracy)__s",
    re.IGNORECASE | re.ASCII,
)
_CUSTOM: Final = re.compile(r"\w+__p?c", re.IGNORECASE | re.ASCII)
_OF_PACKAGE: Final = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*__(?P<name>\w+?)__p?c", re.IGNORECASE | re.ASCII)
_COORDINATES: Final = frozenset({"latitude", "longitude"})
_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?", re.ASCII | re.DOTALL)

_STAMPS: Final = ("timestamp", "ts", "stamp")
"""A software's own words for a time: in a name that says nothing of what happened then, they tell enough."""

_TIMES: Final = ("datetime", "date", "time", "on", "at", "when", "utc", *_STAMPS)
_PLACES: Final = ("last", "first", "next", "previous", "latest")
_WORK: Final = (
    *("synchronized", "synchronised", "synchronization", "synced", "sync", "resynced", "recalculated", "calculated"),
    *("calculation", "recalc", "calc", "computed", "refreshed", "refresh", "updated", "update", "modified", "rescored"),
    *("scored", "enriched", "enrichment", "cached", "polled", "rollup", "indexed", "geocoded", "heartbeat", "crawled"),
    *("queried", "reporting"),
)
"""Housekeeping: what software alone does."""

_WORK_ALONE: Final = ("run", "ran", "processed")
"""Housekeeping if no word says what was run or processed: `Claim_Processed_At` is a business's."""

_WORK_REPEATED: Final = (
    *("imported", "import", "exported", "export", "checked", "check", "cleaned", "cleansed", "verified", "validated"),
    *("pulled", "pushed", "matched", "routed", "evaluated", "appended", "scanned", "batch"),
)
"""Housekeeping if, moreover, it is one of many times: `Last_Checked_At`, not `Credit_Check_Date` or `Verified_At`."""

_CARRIERS: Final = ("job",)
"""Words beside such work that do not make it a business's."""

_BUSINESS: Final = frozenset(
    (
        *("signed", "won", "lost", "closed", "churned", "booked", "expires", "expired", "expiration", "ends", "ended"),
        *("starts", "started", "start", "end", "renews", "renewed", "renewal", "cancelled", "canceled", "activated"),
        *("deactivated", "completed", "opened", "clicked", "replied", "responded", "response", "bounced", "met"),
        *("called", "visited", "visit", "viewed", "seen", "engaged", "converted", "conversion", "subscribed"),
        *("unsubscribed", "subscription", "purchased", "purchase", "paid", "payment", "due", "trial", "contract"),
        *("gift", "meeting", "demo", "activity", "touch", "moment", "stage", "order", "sent", "delivered", "declined"),
        *("voided", "login", "contacted", "qualified", "acquired", "acquisition", "installed", "uninstalled"),
        *("upgraded", "upgrade", "downgraded", "downgrade", "approved", "rejected", "onboarded", "onboarding", "live"),
        *("paused", "suspended", "registered", "delinquent", "invoice", "invoiced", "billing", "intent", "surge"),
        *("kickoff", "credit", "background", "license", "licence", "plan", "price", "pricing", "quote", "usage"),
        *("loan", "claim", "application", "policy", "warranty", "membership", "donation", "shipped", "refunded"),
    )
)
"""What a customer or a seller does, or a deal is about: a time of it can move a score, whatever other words say."""

_KNOWN_WORDS: Final = sorted(
    (*_TIMES, *_PLACES, *_WORK, *_WORK_ALONE, *_WORK_REPEATED, *_CARRIERS), key=len, reverse=True
)
_KNOWN: Final = frozenset(_KNOWN_WORDS)
_ANY_WORK: Final = frozenset((*_WORK, *_WORK_ALONE, *_WORK_REPEATED))
_RUN_TOGETHER: Final = re.compile(rf"(?:{'|'.join(_KNOWN_WORDS)})+")
_KNOWN_WORD: Final = re.compile("|".join(_KNOWN_WORDS))
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def is_coordinate(name: str) -> bool:
    """Return whether a name is that of a part of a custom address or geolocation which tells of no place by itself."""
    return _PART.fullmatch(name) is not None


def is_custom(name: str) -> bool:
    """Return whether a name is that of a whole custom field."""
    return _CUSTOM.fullmatch(name) is not None


def is_geolocation(name: str, change: RecordChange) -> bool:
    """Return whether a whole custom field is a geolocation: of its parts, the event has coordinates only.

    An address has coordinates besides other parts. A bridge may name the parts `Site__c.Latitude` or
    `Site__Latitude__s`.
    """
    if name in change.values:
        return False
    compound, stem = f"{name}.".casefold(), f"{name.rpartition('__')[0]}__".casefold()
    parts = {
        part
        for some in (change.values, change.enriched, change.changed_fields, change.nulled_fields)
        for part in _parts(some, compound, stem)
    }
    return bool(parts & _COORDINATES) and parts <= _COORDINATES


def _parts(names: Iterable[str], compound: str, stem: str) -> Iterable[str]:
    """Yield the parts of a compound field that are among names, in small letters."""
    for name in names:
        folded = name.casefold()
        if folded.startswith(compound):
            yield folded.removeprefix(compound)
        elif folded.startswith(stem) and folded.endswith("__s"):
            yield folded[len(stem) : -len("__s")]


def is_package_time(name: str) -> bool | None:
    """Return whether a name is that of a time at which a package worked; None if only the value can tell.

    A field without a namespace is the company's own, and never one.
    """
    found = _OF_PACKAGE.fullmatch(name)
    words = _words(found["name"]) if found else []
    if not words or not _BUSINESS.isdisjoint(words):
        return False
    last = words[-1]
    if last in _TIMES:
        return _is_work(words) or _is_bare_stamp(words)
    if last in _ANY_WORK and _is_work(words):
        return True if _is_repeated(words[:-1]) else None
    return False


def _is_work(words: list[str]) -> bool:
    """Whether the words of a name say that software kept house; without such a word a time is a business's."""
    if any(word in _WORK for word in words):
        return True
    if not _KNOWN.issuperset(words):
        return False
    if any(word in _WORK_ALONE for word in words):
        return True
    return _is_repeated(words) and any(word in _WORK_REPEATED for word in words)


def _is_repeated(words: list[str]) -> bool:
    return any(word in _PLACES for word in words)


def _is_bare_stamp(words: list[str]) -> bool:
    """Whether a name says nothing but that it is a software's time: `Last_Time_Stamp`."""
    return words[-1] in _STAMPS and all(word in _TIMES or word in _PLACES for word in words)


def is_time(value: Any) -> bool:
    """Return whether a value is a date, a time, or epoch milliseconds."""
    if isinstance(value, str):
        if not value.isdecimal():
            return _DATE_TIME.fullmatch(value) is not None
        value = int(value) if len(value) == len(str(EPOCH_MS_2000)) or len(value) == len(str(EPOCH_MS_2100)) else 0
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and EPOCH_MS_2000 <= value < EPOCH_MS_2100


def _words(name: str) -> list[str]:
    """Return the words of a field's name in small letters, also those of `lastupdated`, which nothing separates."""
    words: list[str] = []
    for word in _WORD.findall(name):
        small = word.lower()
        words += _KNOWN_WORD.findall(small) if _RUN_TOGETHER.fullmatch(small) else [small]
    return words
