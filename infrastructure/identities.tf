# An account for each job that is done, with what that job needs and no more. Who deploys is made in bootstrap/.

locals {
  accounts = {
    worker   = "Workers and the template's launcher machine: read changes, score, write"
    launcher = "Starts, updates and drains the job"
    replay   = "Lists dead letters and replays them"
    api      = "Answers questions about scores"
  }

  # Tables that the pipeline writes; the replay's journal is the replay operator's.
  written_by_worker = {
    for name, table in google_bigquery_table.of : name => table.table_id
    if dirname(name) == "account_scoring" && basename(name) != "dead_letter_replays"
  }
  written_by_replay = {
    for name, table in google_bigquery_table.of : name => table.table_id
    if basename(name) == "dead_letter_replays"
  }
}

resource "google_service_account" "of" {
  for_each = local.accounts

  account_id   = "rescoring-${each.key}"
  display_name = "Account rescoring: ${each.key}"
  description  = each.value

  depends_on = [google_project_service.used]
}

# The predefined role for Vertex AI may also train, deploy and delete.
resource "google_project_iam_custom_role" "gemini_caller" {
  role_id     = "accountRescoringGeminiCaller"
  title       = "Account rescoring: asks Gemini"
  description = "Calls a published model, and nothing else"
  permissions = ["aiplatform.endpoints.predict"]
}

resource "google_project_iam_member" "worker" {
  for_each = {
    dataflow = "roles/dataflow.worker"
    queries  = "roles/bigquery.jobUser"
    gemini   = google_project_iam_custom_role.gemini_caller.id
  }

  project = var.project_id
  role    = each.value
  member  = google_service_account.of["worker"].member
}

resource "google_pubsub_subscription_iam_member" "worker_reads" {
  for_each = toset(["roles/pubsub.subscriber", "roles/pubsub.viewer"])

  subscription = google_pubsub_subscription.rescoring.id
  role         = each.value
  member       = google_service_account.of["worker"].member
}

resource "google_pubsub_topic_iam_member" "worker_dead_letters" {
  for_each = toset(["roles/pubsub.publisher", "roles/pubsub.viewer"])

  topic  = google_pubsub_topic.changes["account-changes-dead-letter"].id
  role   = each.value
  member = google_service_account.of["worker"].member
}

resource "google_bigquery_table_iam_member" "worker_writes" {
  for_each = local.written_by_worker

  dataset_id = google_bigquery_dataset.account_scoring.dataset_id
  table_id   = each.value
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.of["worker"].member
}

resource "google_bigquery_dataset_iam_member" "worker_context" {
  dataset_id = google_bigquery_dataset.crm.dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = google_service_account.of["worker"].member
}

resource "google_storage_bucket_iam_member" "staging" {
  for_each = {
    for pair in setproduct(["worker", "launcher"], ["roles/storage.objectAdmin", "roles/storage.legacyBucketReader"]) :
    "${pair[0]} ${pair[1]}" => { account = pair[0], role = pair[1] }
  }

  bucket = google_storage_bucket.staging.name
  role   = each.value.role
  member = google_service_account.of[each.value.account].member
}

resource "google_artifact_registry_repository_iam_member" "images" {
  for_each = toset(["worker", "launcher"])

  repository = google_artifact_registry_repository.images.name
  location   = google_artifact_registry_repository.images.location
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.of[each.value].member
}

resource "google_project_iam_member" "launcher" {
  #checkov:skip=CKV_GCP_49:To start a job is what this account is for; it may act as the worker's account alone.
  project = var.project_id
  role    = "roles/dataflow.developer"
  member  = google_service_account.of["launcher"].member
}

resource "google_service_account_iam_member" "launcher_as_worker" {
  service_account_id = google_service_account.of["worker"].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.of["launcher"].member
}

resource "google_pubsub_subscription_iam_member" "replay_reads" {
  for_each = {
    hold        = google_pubsub_subscription.dead_letter_hold.id
    parking_lot = google_pubsub_subscription.parking_lot_hold.id
  }

  subscription = each.value
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.of["replay"].member
}

resource "google_pubsub_topic_iam_member" "replay_publishes" {
  for_each = toset(["account-changes", "account-changes-parking-lot"])

  topic  = google_pubsub_topic.changes[each.value].id
  role   = "roles/pubsub.publisher"
  member = google_service_account.of["replay"].member
}

resource "google_bigquery_table_iam_member" "replay_journal" {
  for_each = local.written_by_replay

  dataset_id = google_bigquery_dataset.account_scoring.dataset_id
  table_id   = each.value
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.of["replay"].member
}

resource "google_bigquery_dataset_iam_member" "scoring_readers" {
  for_each = merge(
    { for account in ["replay", "api"] : account => google_service_account.of[account].member },
    { for member in var.score_readers : member => member },
  )

  dataset_id = google_bigquery_dataset.account_scoring.dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = each.value
}

resource "google_project_iam_member" "queries" {
  for_each = toset(["replay", "api"])

  project = var.project_id
  role    = "roles/bigquery.jobUser"
  member  = google_service_account.of[each.value].member
}

resource "google_pubsub_topic_iam_member" "api_publishes" {
  topic  = google_pubsub_topic.changes["account-changes"].id
  role   = "roles/pubsub.publisher"
  member = google_service_account.of["api"].member
}

# People act as these accounts for an hour at a time; no key of an account is ever made.
resource "google_service_account_iam_member" "operators" {
  for_each = {
    for pair in setproduct(["launcher", "replay"], var.operators) : "${pair[0]} ${pair[1]}" => { account = pair[0], member = pair[1] }
  }

  service_account_id = google_service_account.of[each.value.account].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value.member
}
