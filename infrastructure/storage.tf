resource "google_storage_bucket" "staging" {
  #checkov:skip=CKV_GCP_62:Access is in the audit logs; access logs of a bucket of build artefacts would add nothing.
  name                        = "${var.project_id}-account-rescoring-staging"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  versioning {
    enabled = true
  }

  # Delete old files of jobs; keep templates for a rollback.
  lifecycle_rule {
    condition {
      age            = 30
      matches_prefix = ["temp/", "staging/"]
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      num_newer_versions = 5
      with_state         = "ARCHIVED"
    }
    action {
      type = "Delete"
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_artifact_registry_repository" "images" {
  #checkov:skip=CKV_GCP_84:Google's own keys encrypt the images, which contain no data.
  repository_id = "account-rescoring"
  location      = var.region
  format        = "DOCKER"
  description   = "Images of the Flex Template's launcher and of the workers"

  docker_config {
    immutable_tags = true
  }

  cleanup_policies {
    id     = "keep-what-a-rollback-needs"
    action = "KEEP"
    most_recent_versions {
      keep_count = 20
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
