# What a job in another region needs that can't be made while the first region is down (docs/runbooks/region-failover.md): a
# subnetwork, a bucket, and the images. Nothing here costs anything worth naming until a job runs.

resource "google_compute_subnetwork" "standby" {
  count = var.standby == null ? 0 : 1

  name                     = "account-rescoring-workers-standby"
  network                  = google_compute_network.rescoring.id
  region                   = var.standby.region
  ip_cidr_range            = var.standby.subnetwork_cidr
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "EXCLUDE_ALL_METADATA"
  }
}

resource "google_compute_router" "standby" {
  count = var.standby != null && var.salesforce_hosts_reachable ? 1 : 0

  name    = "account-rescoring-standby"
  network = google_compute_network.rescoring.id
  region  = var.standby.region
}

resource "google_compute_router_nat" "standby" {
  count = var.standby != null && var.salesforce_hosts_reachable ? 1 : 0

  name                               = "account-rescoring-standby"
  router                             = google_compute_router.standby[0].name
  region                             = var.standby.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.standby[0].id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

resource "google_storage_bucket" "standby" {
  #checkov:skip=CKV_GCP_62:Access is in the audit logs; access logs of a bucket of build artefacts would add nothing.
  count = var.standby == null ? 0 : 1

  name                        = "${var.project_id}-account-rescoring-standby"
  location                    = var.standby.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  versioning {
    enabled = true
  }

  lifecycle_rule {
    condition {
      age            = 30
      matches_prefix = ["temp/", "staging/"]
    }
    action {
      type = "Delete"
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_storage_bucket_iam_member" "standby" {
  for_each = var.standby == null ? {} : {
    for pair in setproduct(["worker", "launcher"], ["roles/storage.objectAdmin", "roles/storage.legacyBucketReader"]) :
    "${pair[0]} ${pair[1]}" => { account = pair[0], role = pair[1] }
  }

  bucket = google_storage_bucket.standby[0].name
  role   = each.value.role
  member = local.member[each.value.account]
}

resource "google_artifact_registry_repository" "standby" {
  #checkov:skip=CKV_GCP_84:Google's own keys encrypt the images, which contain no data.
  count = var.standby == null ? 0 : 1

  repository_id = "account-rescoring-standby"
  location      = var.standby.region
  format        = "DOCKER"
  description   = "Copies of the deployed images, for a job in the standby region"

  docker_config {
    immutable_tags = true
  }

  cleanup_policies {
    id     = "keep-what-a-failover-needs"
    action = "KEEP"
    most_recent_versions {
      keep_count = 5
    }
  }

  cleanup_policies {
    id     = "delete-the-rest"
    action = "DELETE"
    condition {
      older_than = "${90 * local.day_seconds}s"
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_artifact_registry_repository_iam_member" "standby" {
  for_each = var.standby == null ? toset([]) : toset(["worker", "launcher"])

  repository = google_artifact_registry_repository.standby[0].name
  location   = google_artifact_registry_repository.standby[0].location
  role       = "roles/artifactregistry.reader"
  member     = local.member[each.value]
}
