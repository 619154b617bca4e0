# Resources that a deployment needs before it can deploy. The project's owner applies this once per project, from their machine.
#
#   terraform init
#   terraform apply -var project_id=P -var environment=staging -var repository=OWNER/NAME -var repository_owner_id=N
#
# Then move the state into the bucket that this created; do not commit backend.tf:
#
#   echo 'terraform { backend "gcs" {} }' > backend.tf
#   terraform init -migrate-state -backend-config=bucket=P-terraform -backend-config=prefix=bootstrap
#
# GitHub's workflows have no keys: they exchange the token of their run for one hour of access, bound to repository and
# environment (docs/adr/064).

terraform {
  required_version = ">= 1.9"

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

  # Roles for the resources in infrastructure/. None can create accounts or roles, or act as another account.
  deployer_roles = toset([
    "roles/artifactregistry.admin",
    "roles/bigquery.admin",
    "roles/compute.networkAdmin",
    "roles/compute.securityAdmin",
    "roles/dataflow.developer",
    "roles/monitoring.editor",
    "roles/pubsub.admin",
    "roles/redis.admin",
    "roles/secretmanager.admin",
    "roles/servicenetworking.networksAdmin",
    "roles/serviceusage.serviceUsageAdmin",
    "roles/storage.admin",
  ])

  # The roles that infrastructure/identities.tf grants on the project: the deployer may grant only these.
  grantable_roles = [
    "projects/${var.project_id}/roles/accountRescoringGeminiCaller",
    "roles/bigquery.jobUser",
    "roles/dataflow.developer",
    "roles/dataflow.viewer",
    "roles/dataflow.worker",
  ]

  # One account per task. infrastructure/identities.tf has the roles of the first four.
  accounts = {
    worker   = "Workers and the template's launcher machine: read changes, score, write"
    launcher = "Starts, updates and drains the job"
    replay   = "Lists dead letters and replays them"
    api      = "Serves scores over the API"
    deployer = "Applies infrastructure/ from GitHub"
    planner  = "Plans infrastructure/ from GitHub, for pull requests"
  }

  # The token of a run names its repository and environment; each account belongs to one environment.
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
  # Tokens of other repositories, branches and environments are refused here, whatever the accounts allow.
  attribute_condition = "assertion.repository_owner_id == '${var.repository_owner_id}' && (assertion.sub == 'repo:${var.repository}:environment:${var.environment}' || assertion.sub == 'repo:${var.repository}:environment:${var.environment}-plan')"

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "of" {
  for_each = local.accounts

  account_id   = "rescoring-${each.key}"
  display_name = "Account rescoring: ${each.key}"
  description  = each.value

  depends_on = [google_project_service.used]
}

resource "google_service_account_iam_member" "github" {
  for_each = local.subjects

  service_account_id = google_service_account.of[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/subject/${each.value}"
}

resource "google_project_iam_member" "deployer" {
  #checkov:skip=CKV_GCP_49:It starts the job; it may act as the worker's account only, by a grant on that account.
  for_each = local.deployer_roles

  project = var.project_id
  role    = each.value
  member  = google_service_account.of["deployer"].member
}

# Without the condition this role is as powerful as owner.
resource "google_project_iam_member" "deployer_grants" {
  #checkov:skip=CKV_GCP_49:Bounded by its condition to the roles that the pipeline's accounts have.
  project = var.project_id
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = google_service_account.of["deployer"].member

  condition {
    title       = "roles-of-account-rescoring"
    description = "Grants and revokes the roles of the pipeline's accounts only"
    expression  = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([${join(", ", [for role in local.grantable_roles : "'${role}'"])}])"
  }
}

# An account that starts a job must be allowed to act as the worker's account, under which Dataflow runs it.
resource "google_service_account_iam_member" "acts_as_worker" {
  for_each = toset(["deployer", "launcher"])

  service_account_id = google_service_account.of["worker"].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.of[each.value].member
}

# People act as these accounts for one hour at a time; accounts have no keys.
resource "google_service_account_iam_member" "operators" {
  for_each = {
    for pair in setproduct(["launcher", "replay"], var.operators) :
    "${pair[0]} ${pair[1]}" => { account = pair[0], member = pair[1] }
  }

  service_account_id = google_service_account.of[each.value.account].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value.member
}

# The predefined roles for Vertex AI may also train, deploy and delete.
resource "google_project_iam_custom_role" "gemini_caller" {
  role_id     = "accountRescoringGeminiCaller"
  title       = "Account rescoring: calls Gemini"
  description = "Calls a published model, and nothing else"
  permissions = ["aiplatform.endpoints.predict"]
}

# The plan of a pull request reads resources and the state, and writes nothing, not even a lock. The basic role viewer would let
# it read the tables' rows too.
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
