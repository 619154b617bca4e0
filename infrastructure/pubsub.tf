# What Pub/Sub holds. Why the subscription that Dataflow reads has neither a dead-letter policy nor exactly-once delivery,
# and the hold no dead-letter policy: docs/adr/063.

locals {
  topics = toset(["account-changes", "account-changes-dead-letter", "account-changes-parking-lot"])
}

resource "google_pubsub_topic" "changes" {
  #checkov:skip=CKV_GCP_83:Google's own keys encrypt the messages; a key of ours would be one more thing whose loss stops the stream.
  for_each = local.topics

  name = each.value

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.used]
}

# Dataflow reads this one, and acknowledges when a bundle has committed.
resource "google_pubsub_subscription" "rescoring" {
  name                       = "account-changes-rescoring"
  topic                      = google_pubsub_topic.changes["account-changes"].id
  ack_deadline_seconds       = 600
  message_retention_duration = "${var.retention.change_messages_days * local.day_seconds}s"
  # What was acknowledged stays to be sought back to, after a fault that reached the tables.
  retain_acked_messages = true

  expiration_policy {
    ttl = ""
  }
}

# Dead letters wait here for a replay, which hands back what its filter does not want.
resource "google_pubsub_subscription" "dead_letter_hold" {
  name                         = "account-changes-dead-letter-hold"
  topic                        = google_pubsub_topic.changes["account-changes-dead-letter"].id
  ack_deadline_seconds         = 60 # for so long, letters stay away that a killed replay held
  message_retention_duration   = "${var.retention.dead_messages_days * local.day_seconds}s"
  retain_acked_messages        = true
  enable_exactly_once_delivery = true

  expiration_policy {
    ttl = ""
  }
}

# What no replay mends any more.
resource "google_pubsub_subscription" "parking_lot_hold" {
  name                       = "account-changes-parking-lot-hold"
  topic                      = google_pubsub_topic.changes["account-changes-parking-lot"].id
  ack_deadline_seconds       = 60
  message_retention_duration = "${var.retention.dead_messages_days * local.day_seconds}s"
  retain_acked_messages      = true

  expiration_policy {
    ttl = ""
  }
}

# Every dead letter's bytes, in BigQuery, by Pub/Sub itself: they outlive the hold, whatever becomes of the pipeline.
resource "google_pubsub_subscription" "dead_letter_archive" {
  name                       = "account-changes-dead-letter-archive"
  topic                      = google_pubsub_topic.changes["account-changes-dead-letter"].id
  ack_deadline_seconds       = 60
  message_retention_duration = "${var.retention.dead_messages_days * local.day_seconds}s"

  bigquery_config {
    table          = "${var.project_id}.${google_bigquery_table.dead_letter_messages.dataset_id}.${google_bigquery_table.dead_letter_messages.table_id}"
    write_metadata = true
  }

  # A row that BigQuery goes on refusing is parked, rather than tried until it is forgotten.
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.changes["account-changes-parking-lot"].id
    max_delivery_attempts = 20
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  expiration_policy {
    ttl = ""
  }

  depends_on = [
    google_bigquery_table_iam_member.archive_writer,
    google_pubsub_topic_iam_member.archive_parks,
  ]
}

# Pub/Sub forwards and writes as its own service agent.
resource "google_project_service_identity" "pubsub" {
  provider = google-beta

  service = "pubsub.googleapis.com"

  depends_on = [google_project_service.used]
}

resource "google_bigquery_table_iam_member" "archive_writer" {
  for_each = toset(["roles/bigquery.dataEditor", "roles/bigquery.metadataViewer"])

  dataset_id = google_bigquery_table.dead_letter_messages.dataset_id
  table_id   = google_bigquery_table.dead_letter_messages.table_id
  role       = each.value
  member     = google_project_service_identity.pubsub.member
}

resource "google_pubsub_topic_iam_member" "archive_parks" {
  topic  = google_pubsub_topic.changes["account-changes-parking-lot"].id
  role   = "roles/pubsub.publisher"
  member = google_project_service_identity.pubsub.member
}

resource "google_pubsub_subscription_iam_member" "archive_forwards" {
  subscription = google_pubsub_subscription.dead_letter_archive.id
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.pubsub.member
}
