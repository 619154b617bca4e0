"""Build the pipeline graph, from change events to scores. The labels are the step names in the Dataflow console."""

from dataclasses import replace

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub

import transforms.coders  # noqa: F401 - registers the coders
from pipeline.config.options import RescoringConfig, ShadowConfig
from pipeline.version import PIPELINE_VERSION
from schemas.account_context import EnrichedChange
from schemas.change_event import AccountChange
from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome, ScoringResult
from schemas.tables import ACCOUNT_SCORES, CHANGE_OUTCOMES, DEAD_LETTERS
from transforms.admit.batch_accounts import BatchAccounts
from transforms.admit.keep_to_budget import KeepToBudget
from transforms.clients.gemini_api import GeminiSettings
from transforms.coalesce.coalesce_by_account import CoalesceByAccount
from transforms.coalesce.tombstone_deleted import TombstoneDeleted
from transforms.enrich.add_account_context import AddAccountContext
from transforms.enrich.reread_gaps import RereadGaps
from transforms.enrich.skip_unchanged_contexts import SkipUnchangedContexts
from transforms.filter.drop_immaterial_changes import DropImmaterialChanges
from transforms.find.find_accounts import MAX_WAIT_SECONDS, FindAccounts
from transforms.find.look_up_accounts import LookUpSettings
from transforms.find.remember_accounts import Changes
from transforms.parse.parse_change_events import ParseChangeEvents
from transforms.score.prices import Price
from transforms.score.score_accounts import ScoreAccounts, SplitResults
from transforms.score.shadow_scores import SHADOW_COUNTERS, ShadowScores
from transforms.write.write_rows import WriteDeadLetters, WriteOutcomes, WriteShadowScores
from transforms.write.write_scores import WriteScores


def read_messages(pipeline: beam.Pipeline, config: RescoringConfig) -> beam.PCollection[PubsubMessage]:
    """Read the messages of the subscription."""
    return pipeline | "Read change events" >> ReadFromPubSub(
        subscription=config.subscription, id_label=config.id_label, with_attributes=True
    )


def scoring(config: RescoringConfig, gemini: GeminiSettings, price: Price) -> ScoreAccounts:
    """Return the step that scores accounts with a model and prompt of the configuration."""
    return ScoreAccounts(gemini, PIPELINE_VERSION, config.accounts_per_call, price)


def finding(config: RescoringConfig) -> FindAccounts:
    """Return the step that finds the accounts of related records."""
    fields = config.materiality.account_fields
    where = LookUpSettings(config.project, config.crm_dataset, fields, config.salesforce, config.outage)
    seconds = min(MAX_WAIT_SECONDS, config.batching.max_wait_seconds)
    return FindAccounts(where, PIPELINE_VERSION, config.coalesce_state_seconds, seconds)


def build_graph(messages: beam.PCollection[PubsubMessage], config: RescoringConfig) -> None:
    """Score the accounts that messages are about, and write an outcome for every message."""
    version = PIPELINE_VERSION
    parsed = messages | "Parse change events" >> ParseChangeEvents(
        version, config.materiality.account_fields, config.schemas
    )
    dropped = parsed.changes | "Drop immaterial changes" >> DropImmaterialChanges(config.materiality, version)
    unnamed = parsed.unnamed | "Drop immaterial unnamed changes" >> DropImmaterialChanges(
        config.materiality, version, are_unnamed=True
    )
    found = Changes(dropped.material, unnamed.material) | "Find accounts" >> finding(config)
    coalesced = found.changes | "Coalesce by account" >> CoalesceByAccount(
        version, config.coalescing, config.coalesce_state_seconds
    )
    scored = score_changes(coalesced.changes, [parsed.dead_letters, found.dead_letters], config)
    outcomes = [parsed.outcomes, dropped.outcomes, unnamed.outcomes, found.outcomes, coalesced.outcomes]
    write_outcomes([*outcomes, *scored], config)


def build_backfill(messages: beam.PCollection[PubsubMessage], config: RescoringConfig) -> None:
    """Score the accounts of a backfill. Each has one message, which names it, so nothing is looked up or coalesced."""
    parsed = messages | "Parse change events" >> ParseChangeEvents(
        PIPELINE_VERSION, config.materiality.account_fields, config.schemas
    )
    dropped = parsed.changes | "Drop immaterial changes" >> DropImmaterialChanges(config.materiality, PIPELINE_VERSION)
    scored = score_changes(dropped.material, [parsed.dead_letters], config)
    write_outcomes([parsed.outcomes, dropped.outcomes, *scored], config)


def score_changes(
    changes: beam.PCollection[AccountChange], failed: list[beam.PCollection[DeadLetter]], config: RescoringConfig
) -> tuple[beam.PCollection[Outcome], ...]:
    """Score changes, write scores and dead letters, and return the outcomes. Shared by stream and backfill."""
    version, project, dataset = PIPELINE_VERSION, config.project, config.dataset

    living = changes | "Tombstone deleted accounts" >> TombstoneDeleted(version)
    affordable = living.changes | "Keep to budget" >> KeepToBudget(config.budget, version)
    batches = affordable.changes | "Batch accounts" >> BatchAccounts(config.batching, config.batch_shards)
    reread = batches | "Reread gaps" >> RereadGaps(config.salesforce, config.materiality.account_fields, version)
    gone = reread.deleted | "Tombstone reread accounts" >> TombstoneDeleted(version)
    looked_up = reread.batches | "Add account context" >> AddAccountContext(
        project, config.crm_dataset, version, cache=config.cache, outage=config.outage
    )
    known = looked_up.enriched | "Skip unchanged contexts" >> SkipUnchangedContexts(
        project, dataset, version, config.gemini, config.unchanged_lookback, config.outage
    )
    # Paid answers must not wait, uncommitted, for the queries of the next batch of their bundle.
    changed = known.changed | "Reshuffle changed contexts" >> beam.Reshuffle()
    scored = changed | "Score accounts" >> scoring(config, config.gemini, config.price)
    results = (
        [scored, known.carried, living.tombstones, gone.tombstones]
        | "All results" >> beam.Flatten().with_output_types(ScoringResult)
        | "Reshuffle results" >> beam.Reshuffle()
        | "Split results" >> SplitResults()
    )

    if config.shadow:
        score_shadows(known.changed, config, config.shadow)

    written = results.scored | "Write scores" >> WriteScores(project, dataset, ACCOUNT_SCORES, version, config.outage)
    dead_lettered = (
        [*failed, affordable.dead_letters, looked_up.dead_letters, results.dead_letters, written.dead_letters]
        | "All dead letters" >> beam.Flatten().with_output_types(DeadLetter)
        | "Reshuffle dead letters" >> beam.Reshuffle()
        | "Write dead letters"
        >> WriteDeadLetters(
            project, dataset, DEAD_LETTERS, config.dead_letter_topic, config.gemini.model, config.outage
        )
    )
    return affordable.outcomes, reread.outcomes, known.outcomes, written.outcomes, dead_lettered


def score_shadows(
    enriched: beam.PCollection[list[EnrichedChange]], config: RescoringConfig, shadow: ShadowConfig
) -> None:
    """Score a sample again with another model or prompt, without outcomes and dead letters."""
    steps = replace(scoring(config, shadow.gemini, shadow.price), counters=SHADOW_COUNTERS, parks=False)
    _ = (
        enriched
        | "Score shadows" >> ShadowScores(steps, shadow.percent)
        | "Write shadows" >> WriteShadowScores(config.project, config.dataset, ACCOUNT_SCORES)
    )


def write_outcomes(outcomes: list[beam.PCollection[Outcome]], config: RescoringConfig) -> None:
    """Write the outcomes to the ledger."""
    _ = (
        outcomes
        | "All outcomes" >> beam.Flatten().with_output_types(Outcome)
        | "Write outcomes" >> WriteOutcomes(config.project, config.dataset, CHANGE_OUTCOMES, config.outage)
    )
