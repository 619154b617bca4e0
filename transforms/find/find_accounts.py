"""Find accounts: the account of each related record's change that names none."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import apache_beam as beam

from schemas.change_event import AccountChange
from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome
from transforms.find.look_up_accounts import LookUpAccounts, LookUpSettings
from transforms.find.remember_accounts import RememberAccounts

MAX_WAIT_SECONDS: Final = 2.0
"""Until a look-up; far less than a burst waits."""


class FoundAccounts(NamedTuple):
    """The changes with their accounts, and the ledger rows and dead letters of this stage."""

    changes: beam.PCollection[AccountChange]
    outcomes: beam.PCollection[Outcome]
    dead_letters: beam.PCollection[DeadLetter]


@dataclass
class FindAccounts(beam.PTransform):
    """Find the accounts of changes that name none, and the former accounts of records that were moved.

    Input: Changes. Output: FoundAccounts. A change that names its account goes on at once. What the stream's memory
    does not know is looked up within `max_wait_seconds`: it waits half of them for an event that names the account, and
    the other half for a batch to fill. Longer than a burst waits would make changes stale.
    """

    settings: LookUpSettings
    pipeline_version: str
    state_ttl_seconds: float
    max_wait_seconds: float = MAX_WAIT_SECONDS

    def expand(self, changes: Any) -> Any:
        """Remember, then look up what is not remembered."""
        fields, version, half = self.settings.account_fields, self.pipeline_version, self.max_wait_seconds / 2
        remembered = changes | "Remember accounts" >> RememberAccounts(version, fields, self.state_ttl_seconds, half)
        looked_up = remembered.wanted | "Look up accounts" >> LookUpAccounts(
            self.settings, version, max_wait_seconds=half
        )
        ends = (remembered, looked_up)
        return FoundAccounts(
            (changes.named, *(it.changes for it in ends))
            | "All changes" >> beam.Flatten().with_output_types(AccountChange),
            tuple(it.outcomes for it in ends) | "All outcomes" >> beam.Flatten().with_output_types(Outcome),
            tuple(it.dead_letters for it in ends) | "All dead letters" >> beam.Flatten().with_output_types(DeadLetter),
        )
