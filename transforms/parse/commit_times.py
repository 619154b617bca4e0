"""Refuse a change event that is dated after its message was published.

The newest change of an account wins. An event dated in the future, by a wrong clock or in other units than
milliseconds, would win until then: every real change of its account would be stale.
"""

import datetime as dt
from typing import Final

from schemas.change_event import SourceMessage
from transforms.errors import InvalidEvent
from transforms.ledger import first_failed_at

CLOCK_SKEW: Final = dt.timedelta(minutes=5)
"""How far Salesforce's clock may be ahead of Pub/Sub's.

Both follow NTP, so they differ by less than seconds; five minutes are what Kerberos and most checks of tokens allow. An
account's changes are stale for no longer than that.
"""


def refuse_future_commit(committed_at: dt.datetime, source: SourceMessage, now: dt.datetime | None) -> None:
    """Refuse a commit that is later than the message's publication.

    Args:
        committed_at: The event's commitTimestamp.
        source: Its message. A redelivery has the time of publication of the first delivery. A replay is published
            again, so the time of its first failure counts, which the replay keeps.
        now: Counts where the message has no time of publication, as in a file; None: then nothing is refused.

    Raises:
        InvalidEvent: The commit is more than CLOCK_SKEW later.
    """
    known = source.published_at or now
    if known is None:
        return
    if source.replay_count:
        known = first_failed_at(source.attributes, known) or known
    if committed_at - known > CLOCK_SKEW:
        reference = "published" if source.published_at else "read"
        raise InvalidEvent(
            f"ChangeEventHeader.commitTimestamp: {committed_at:%Y-%m-%d %H:%M:%S} UTC is more than "
            f"{CLOCK_SKEW.seconds // 60} minutes after the message was {reference}: it would outlive every real change "
            "until then; correct the sender's clock, or write milliseconds since 1970, and publish the event again"
        )
