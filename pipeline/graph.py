"""The graph: from a change event to a score, on one screen. The labels are what the Dataflow console shows."""

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub

import transforms.coders  # noqa: F401 - registers how the models travel
from pipeline import PIPELINE_VERSION
from pipeline.options import RescoringConfig
from pipeline.sinks import WriteDeadLetters, WriteOutcomes, WriteScores, recorded_now
from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome, ScoringResult
from schemas.tables import ACCOUNT_SCORES, CHANGE_OUTCOMES, DEAD_LETTERS
from transforms.add_account_context import AddAccountContext
from transforms.batch_accounts import BatchAccounts
from transforms.coalesce_by_account import CoalesceByAccount
from transforms.drop_immaterial_changes import DropImmaterialChanges
from transforms.parse_change_events import ParseChangeEvents
from transforms.reread_gaps import RereadGaps
from transforms.score_accounts import ScoreAccounts, SplitResults
from transforms.tombstone_deleted import TombstoneDeleted


def read_messages(pipeline: beam.Pipeline, config: RescoringConfig) -> beam.PCollection[PubsubMessage]:
    """Return the subscription's messages."""
    return pipeline | "Read change events" >> ReadFromPubSub(
        subscription=config.subscription, id_label=config.id_label, with_attributes=True
    )


def build_graph(messages: beam.PCollection[PubsubMessage], config: RescoringConfig) -> None:
    """Score the accounts that messages tell of, and account for every message."""
    version, project, dataset = PIPELINE_VERSION, config.project, config.dataset

    parsed = messages | "Parse change events" >> ParseChangeEvents(version, config.schemas)
    dropped = parsed.changes | "Drop immaterial changes" >> DropImmaterialChanges(config.materiality, version)
    coalesced = dropped.material | "Coalesce by account" >> CoalesceByAccount(version, **config.coalescing)
    living = coalesced.changes | "Tombstone deleted accounts" >> TombstoneDeleted(version)
    batches = living.changes | "Batch accounts" >> BatchAccounts(**config.batching)
    reread = batches | "Reread gaps" >> RereadGaps(config.salesforce)
    gone = reread.deleted | "Tombstone reread accounts" >> TombstoneDeleted(version)
    looked_up = reread.batches | "Add account context" >> AddAccountContext(project, config.crm_dataset, version)
    scored = looked_up.in_context | "Score accounts" >> ScoreAccounts(config.gemini, version, config.accounts_per_call)
    results = (
        [scored, living.tombstones, gone.tombstones]
        | "All results" >> beam.Flatten().with_output_types(ScoringResult)
        | "Reshuffle results" >> beam.Reshuffle()
        | "Split results" >> SplitResults()
    )

    refused = results.scored | "Write scores" >> WriteScores(project, dataset, ACCOUNT_SCORES, version)
    recorded = results.scored | "Record scored" >> beam.Map(recorded_now).with_output_types(Outcome)
    dead_lettered = (
        [parsed.dead_letters, looked_up.dead_letters, results.dead_letters, refused]
        | "All dead letters" >> beam.Flatten().with_output_types(DeadLetter)
        | "Reshuffle dead letters" >> beam.Reshuffle()
        | "Write dead letters" >> WriteDeadLetters(project, dataset, DEAD_LETTERS, config.dead_letter_topic)
    )
    (
        [parsed.outcomes, dropped.outcomes, coalesced.outcomes, recorded, dead_lettered]
        | "All outcomes" >> beam.Flatten().with_output_types(Outcome)
        | "Write outcomes" >> WriteOutcomes(project, dataset, CHANGE_OUTCOMES)
    )
