# Tables and views are generated from the models by `make generate`, one file each; a test compares them with the code.

locals {
  tables = {
    for name in fileset("${path.module}/schemas/tables", "*/*.json") :
    trimsuffix(name, ".json") => jsondecode(file("${path.module}/schemas/tables/${name}"))
  }
  views = {
    for name in fileset("${path.module}/schemas/views", "*/*.sql") :
    trimsuffix(name, ".sql") => file("${path.module}/schemas/views/${name}")
  }
}

resource "google_bigquery_dataset" "account_scoring" {
  #checkov:skip=CKV_GCP_81:Google's own keys encrypt the tables; nothing here requires customer-managed keys.
  dataset_id                 = "account_scoring"
  location                   = var.bigquery_location
  description                = "Account scores, the ledger of outcomes, and dead letters"
  delete_contents_on_destroy = !var.deletion_protection
  # Deleted rows and tables can be restored for a week.
  max_time_travel_hours = "168"

  depends_on = [google_project_service.used]
}

resource "google_bigquery_dataset" "crm" {
  #checkov:skip=CKV_GCP_81:Google's own keys encrypt the tables; nothing here requires customer-managed keys.
  dataset_id                 = "crm"
  location                   = var.bigquery_location
  description                = "Mirror of the CRM, the source of account contexts; a process outside this project fills it"
  delete_contents_on_destroy = !var.deletion_protection
  max_time_travel_hours      = "168"

  depends_on = [google_project_service.used]
}

resource "google_bigquery_table" "of" {
  #checkov:skip=CKV_GCP_80:Google's own keys encrypt the tables; nothing here requires customer-managed keys.
  #checkov:skip=CKV_GCP_121:A variable; true unless an environment overrides it.
  for_each = local.tables

  dataset_id          = dirname(each.key) == "crm" ? google_bigquery_dataset.crm.dataset_id : google_bigquery_dataset.account_scoring.dataset_id
  table_id            = basename(each.key)
  schema              = jsonencode(each.value.columns)
  clustering          = length(each.value.clustering) > 0 ? each.value.clustering : null
  deletion_protection = var.deletion_protection

  dynamic "time_partitioning" {
    for_each = each.value.partition == null ? [] : [each.value.partition]

    content {
      type  = time_partitioning.value.type
      field = time_partitioning.value.field
      # The mirror's owner decides how long its partitions are kept.
      expiration_ms = dirname(each.key) == "crm" ? null : var.retention.partitions_days * local.day_seconds * 1000
    }
  }
}

resource "google_bigquery_table" "view" {
  #checkov:skip=CKV_GCP_80:A view holds no data.
  #checkov:skip=CKV_GCP_121:A view holds no data.
  for_each = local.views

  dataset_id          = google_bigquery_dataset.account_scoring.dataset_id
  table_id            = basename(each.key)
  deletion_protection = false

  view {
    query          = replace(each.value, "{dataset}", "${var.project_id}.${google_bigquery_dataset.account_scoring.dataset_id}")
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.of]
}

# Not `dead_letters`, which the pipeline writes: Pub/Sub writes this table, in its own columns.
resource "google_bigquery_table" "dead_letter_messages" {
  #checkov:skip=CKV_GCP_80:Google's own keys encrypt the tables; nothing here requires customer-managed keys.
  #checkov:skip=CKV_GCP_121:A variable; true unless an environment overrides it.
  dataset_id          = google_bigquery_dataset.account_scoring.dataset_id
  table_id            = "dead_letter_messages"
  description         = "Each message of the dead-letter topic, byte for byte, written by Pub/Sub"
  deletion_protection = var.deletion_protection

  time_partitioning {
    type          = "DAY"
    field         = "publish_time"
    expiration_ms = var.retention.partitions_days * local.day_seconds * 1000
  }

  schema = jsonencode([
    { name = "subscription_name", type = "STRING", mode = "NULLABLE" },
    { name = "message_id", type = "STRING", mode = "NULLABLE" },
    { name = "publish_time", type = "TIMESTAMP", mode = "NULLABLE" },
    { name = "data", type = "BYTES", mode = "NULLABLE" },
    { name = "attributes", type = "JSON", mode = "NULLABLE" },
  ])
}
