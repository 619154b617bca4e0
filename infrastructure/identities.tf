# Roles of each service account, no more than it needs. The project's owner makes the accounts, the role to call Gemini, and
# the rights to act as an account in bootstrap/, so that the deployer can't widen them (docs/adr/064).

locals {
  email  = { for job in ["worker", "launcher", "replay", "api"] : job => "rescoring-${job}@${var.project_id}.iam.gserviceaccount.com" }
  member = { for job, email in local.email : job => "serviceAccount:${email}" }

  # Tables that the pipeline writes. The replay operator writes the replay's journal and lease.
  written_by_worker = {
    for name, table in google_bigquery_table.of : name => table.table_id
    if dirname(name) == "account_scoring" && !startswith(basename(name), "dead_letter_replay")
  }
  written_by_replay = {
    for name, table in google_bigquery_table.of : name => table.table_id
    if startswith(basename(name), "dead_letter_replay")
  }
}

resource "google_project_iam_member" "worker" {
  for_each = {
    dataflow = "roles/dataflow.worker"
    # The template's launcher runs under this account. To update a job by name it lists the jobs (dataflow.jobs.list), which
    # roles/dataflow.worker does not allow.
    jobs    = "roles/dataflow.viewer"
    queries = "roles/bigquery.jobUser"
    gemini  = "projects/${var.project_id}/roles/accountRescoringGeminiCaller"
  }

  project = var.project_id
  role    = each.value
  member  = local.member["worker"]
}

resource "google_pubsub_subscription_iam_member" "worker_reads" {
  for_each = toset(["roles/pubsub.subscriber", "roles/pubsub.viewer"])

  subscription = google_pubsub_subscription.rescoring.id
  role         = each.value
  member       = local.member["worker"]
}

resource "google_pubsub_topic_iam_member" "worker_dead_letters" {
  for_each = toset(["roles/pubsub.publisher", "roles/pubsub.viewer"])

  topic  = google_pubsub_topic.changes["account-changes-dead-letter"].id
  role   = each.value
  member = local.member["worker"]
}

resource "google_bigquery_table_iam_member" "worker_writes" {
  for_each = local.written_by_worker

  dataset_id = google_bigquery_dataset.account_scoring.dataset_id
  table_id   = each.value
  role       = "roles/bigquery.dataEditor"
  member     = local.member["worker"]
}

resource "google_bigquery_dataset_iam_member" "worker_context" {
  dataset_id = google_bigquery_dataset.crm.dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = local.member["worker"]
}

resource "google_storage_bucket_iam_member" "staging" {
  for_each = {
    for pair in setproduct(["worker", "launcher"], ["roles/storage.objectAdmin", "roles/storage.legacyBucketReader"]) :
    "${pair[0]} ${pair[1]}" => { account = pair[0], role = pair[1] }
  }

  bucket = google_storage_bucket.staging.name
  role   = each.value.role
  member = local.member[each.value.account]
}

resource "google_artifact_registry_repository_iam_member" "images" {
  for_each = toset(["worker", "launcher"])

  repository = google_artifact_registry_repository.images.name
  location   = google_artifact_registry_repository.images.location
  role       = "roles/artifactregistry.reader"
  member     = local.member[each.value]
}

resource "google_project_iam_member" "launcher" {
  #checkov:skip=CKV_GCP_49:This account starts jobs; it may act as the worker's account only.
  project = var.project_id
  role    = "roles/dataflow.developer"
  member  = local.member["launcher"]
}

# A replay looks at its subscription before it pulls (pubsub.subscriptions.get), which roles/pubsub.subscriber does not allow.
resource "google_pubsub_subscription_iam_member" "replay_reads" {
  for_each = {
    for pair in setproduct(["hold", "parking_lot"], ["roles/pubsub.subscriber", "roles/pubsub.viewer"]) :
    "${pair[0]} ${pair[1]}" => { subscription = pair[0], role = pair[1] }
  }

  subscription = {
    hold        = google_pubsub_subscription.dead_letter_hold.id
    parking_lot = google_pubsub_subscription.parking_lot_hold.id
  }[each.value.subscription]
  role   = each.value.role
  member = local.member["replay"]
}

resource "google_pubsub_topic_iam_member" "replay_publishes" {
  for_each = toset(["account-changes", "account-changes-parking-lot"])

  topic  = google_pubsub_topic.changes[each.value].id
  role   = "roles/pubsub.publisher"
  member = local.member["replay"]
}

resource "google_bigquery_table_iam_member" "replay_journal" {
  for_each = local.written_by_replay

  dataset_id = google_bigquery_dataset.account_scoring.dataset_id
  table_id   = each.value
  role       = "roles/bigquery.dataEditor"
  member     = local.member["replay"]
}

# A replay of account_not_found asks the mirror which accounts are there by now.
resource "google_bigquery_table_iam_member" "replay_mirror" {
  dataset_id = google_bigquery_dataset.crm.dataset_id
  table_id   = google_bigquery_table.of["crm/accounts"].table_id
  role       = "roles/bigquery.dataViewer"
  member     = local.member["replay"]
}

resource "google_bigquery_dataset_iam_member" "scoring_readers" {
  for_each = merge(
    { for account in ["replay", "api"] : account => local.member[account] },
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
  member  = local.member[each.value]
}

resource "google_pubsub_topic_iam_member" "api_publishes" {
  topic  = google_pubsub_topic.changes["account-changes"].id
  role   = "roles/pubsub.publisher"
  member = local.member["api"]
}
