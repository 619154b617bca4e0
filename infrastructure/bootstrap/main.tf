# Made once a project, by its owner and from their own machine: what a deployment needs before it can deploy.
#
#   terraform init && terraform apply -var project_id=… -var repository=OWNER/NAME -var environment=staging
#   terraform init -migrate-state -backend-config=bucket=… -backend-config=prefix=bootstrap   # then the state moves there
#
# GitHub's workflows get no key: they exchange the token of their run for an hour's access, bound to repository and
# environment (docs/adr/064).

terraform {
  required_version = ">= 1.9"

  backend "gcs" {}

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }
}

provider "google" {
  project = var.project_id
  region  = var.region
}

locals {
  services = toset([
    "cloudresourcemanager.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
    "sts.googleapis.com",
  ])

  # What infrastructure/ makes, service by service. None of them is owner or editor.
  deployer_roles = toset([
    "roles/artifactregistry.admin",
    "roles/bigquery.admin",
    "roles/compute.networkAdmin",
    "roles/compute.securityAdmin",
    "roles/dataflow.developer",
    "roles/iam.roleAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/monitoring.editor",
    "roles/pubsub.admin",
    "roles/redis.admin",
    "roles/secretmanager.admin",
    "roles/servicenetworking.networksAdmin",
    "roles/serviceusage.serviceUsageAdmin",
    "roles/storage.admin",
  ])

  # The roles that infrastructure/identities.tf gives on the project: the deployer may give these and no others.
  grantable_roles = [
    "projects/${var.project_id}/roles/accountRescoringGeminiCaller",
    "roles/bigquery.jobUser",
    "roles/dataflow.developer",
    "roles/dataflow.worker",
  ]

  # A run's token says which repository and which of its environments it is for; each account is one environment's.
  subjects = {
    deployer = "repo:${var.repository}:environment:${var.environment}"
    planner  = "repo:${var.repository}:environment:${var.environment}-plan"
  }
}

resource "google_project_service" "used" {
  for_each = local.services

  service            = each.value
  disable_on_destroy = false
}

resource "google_storage_bucket" "state" {
  #checkov:skip=CKV_GCP_62:Access is in the audit logs.
  name                        = "${var.project_id}-terraform"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_project_service.used]
}

resource "google_iam_workload_identity_pool" "github" {
  workload_identity_pool_id = "github"
  display_name              = "GitHub"

  depends_on = [google_project_service.used]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  #checkov:skip=CKV_GCP_125:The condition compares the whole subject, repository and environment; checkov can't read the variables in it. The test does.
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = "actions"
  display_name                       = "GitHub Actions"

  attribute_mapping = { "google.subject" = "assertion.sub" }
  # Tokens of other repositories, branches and environments end here, whatever is bound behind.
  attribute_condition = "assertion.repository_owner_id == '${var.repository_owner_id}' && (assertion.sub == 'repo:${var.repository}:environment:${var.environment}' || assertion.sub == 'repo:${var.repository}:environment:${var.environment}-plan')"

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "of" {
  for_each = local.subjects

  account_id   = "rescoring-${each.key}"
  display_name = "Account rescoring: ${each.key}"

  depends_on = [google_project_service.used]
}

resource "google_service_account_iam_member" "github" {
  for_each = local.subjects

  service_account_id = google_service_account.of[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/subject/${each.value}"
}

resource "google_project_iam_member" "deployer" {
  #checkov:skip=CKV_GCP_41:The worker's account must be given to the job; it is bounded to that account below.
  #checkov:skip=CKV_GCP_49:It makes the accounts of infrastructure/identities.tf, and may give them the roles of grantable_roles only.
  for_each = local.deployer_roles

  project = var.project_id
  role    = each.value
  member  = google_service_account.of["deployer"].member
}

# Without the condition this role is as good as owner.
resource "google_project_iam_member" "deployer_grants" {
  #checkov:skip=CKV_GCP_49:Bounded by its condition to the roles that the pipeline's accounts have.
  project = var.project_id
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = google_service_account.of["deployer"].member

  condition {
    title       = "roles-of-account-rescoring"
    description = "Gives and takes the roles of the pipeline's accounts only"
    expression  = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([${join(", ", [for role in local.grantable_roles : "'${role}'"])}])"
  }
}

# Dataflow runs a job as the worker's account for whoever may act as it.
resource "google_project_iam_member" "deployer_acts" {
  #checkov:skip=CKV_GCP_41:Bounded by its condition to the worker's account.
  #checkov:skip=CKV_GCP_49:Bounded by its condition to the worker's account.
  project = var.project_id
  role    = "roles/iam.serviceAccountUser"
  member  = google_service_account.of["deployer"].member

  condition {
    title       = "the-worker-only"
    description = "Acts as the worker's account and no other"
    expression  = "resource.name.endsWith('/serviceAccounts/rescoring-worker@${var.project_id}.iam.gserviceaccount.com')"
  }
}

# A pull request's plan reads what there is, and the state; it writes nowhere, not even a lock. The basic role of viewer
# would let it read the tables' rows too.
resource "google_project_iam_member" "planner" {
  for_each = toset([
    "roles/artifactregistry.reader",
    "roles/bigquery.metadataViewer",
    "roles/compute.viewer",
    "roles/dataflow.viewer",
    "roles/iam.roleViewer",
    "roles/iam.securityReviewer",
    "roles/monitoring.viewer",
    "roles/pubsub.viewer",
    "roles/redis.viewer",
    "roles/secretmanager.viewer",
    "roles/serviceusage.serviceUsageConsumer",
    "roles/storage.objectViewer",
  ])

  project = var.project_id
  role    = each.value
  member  = google_service_account.of["planner"].member
}
