# Topics and subscriptions. docs/adr/063 says which subscriptions have a dead-letter policy or deliver exactly once, and why.

locals {
  topics = toset(["account-changes", "account-changes-dead-letter", "account-changes-parking-lot"])
}

resource "google_pubsub_topic" "changes" {
  #checkov:skip=CKV_GCP_83:Google's own keys encrypt the messages; the loss of a customer-managed key would stop the stream.
  for_each = local.topics

  name = each.value

  message_storage_policy {
    # With a second region, messages can be published while the first one is down.
    allowed_persistence_regions = compact([var.region, try(var.standby.region, null)])
  }

  depends_on = [google_project_service.used]
}

# Dataflow reads this subscription, and acknowledges when a bundle has committed.
resource "google_pubsub_subscription" "rescoring" {
  name                       = "account-changes-rescoring"
  topic                      = google_pubsub_topic.changes["account-changes"].id
  ack_deadline_seconds       = 600
  message_retention_duration = "${var.retention.change_messages_days * local.day_seconds}s"
  # Acknowledged messages are kept, so that `rescore recover` can seek back to them.
  retain_acked_messages = true

  expiration_policy {
    ttl = ""
  }
}

# Dead letters wait here for a replay, which nacks those that its filter does not match.
resource "google_pubsub_subscription" "dead_letter_hold" {
  name                         = "account-changes-dead-letter-hold"
  topic                        = google_pubsub_topic.changes["account-changes-dead-letter"].id
  ack_deadline_seconds         = 60 # how long the messages of a killed replay stay leased
  message_retention_duration   = "${var.retention.dead_messages_days * local.day_seconds}s"
  retain_acked_messages        = true
  enable_exactly_once_delivery = true

  expiration_policy {
    ttl = ""
  }
}

# Parked messages: dead letters that failed after their replays, and what the archive could not write.
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

# Pub/Sub writes every dead letter's bytes to BigQuery, where they are kept for longer than in the hold subscription.
resource "google_pubsub_subscription" "dead_letter_archive" {
  name                       = "account-changes-dead-letter-archive"
  topic                      = google_pubsub_topic.changes["account-changes-dead-letter"].id
  ack_deadline_seconds       = 60
  message_retention_duration = "${var.retention.dead_messages_days * local.day_seconds}s"

  bigquery_config {
    table          = "${var.project_id}.${google_bigquery_table.dead_letter_messages.dataset_id}.${google_bigquery_table.dead_letter_messages.table_id}"
    write_metadata = true
  }

  # A row that BigQuery keeps refusing is parked, rather than retried until it expires.
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
