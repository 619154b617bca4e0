# Secrets without values. People or a rotation add the values; Terraform does not, because its state would contain them.

locals {
  secrets = {
    "salesforce-client-secret" = "worker"
    "api-signing-key"          = "api"
  }
}

resource "google_secret_manager_secret" "held" {
  for_each = local.secrets

  secret_id = each.key

  replication {
    user_managed {
      replicas {
        location = var.region
      }
      # Replicas are fixed when a secret is created: a new standby region replaces the secrets, whose values are then added again.
      dynamic "replicas" {
        for_each = var.standby == null ? [] : [var.standby.region]

        content {
          location = replicas.value
        }
      }
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = local.secrets

  secret_id = google_secret_manager_secret.held[each.key].id
  role      = "roles/secretmanager.secretAccessor"
  member    = local.member[each.value]
}
