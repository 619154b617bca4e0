# One repository and one environment may deploy, with no more rights than the pipeline needs.

mock_provider "google" {
  mock_resource "google_service_account" {
    override_during = plan
    defaults = {
      member = "serviceAccount:rescoring-deployer@example-staging.iam.gserviceaccount.com"
      name   = "projects/example-staging/serviceAccounts/rescoring-deployer@example-staging.iam.gserviceaccount.com"
    }
  }
  mock_resource "google_iam_workload_identity_pool" {
    override_during = plan
    defaults        = { name = "projects/1/locations/global/workloadIdentityPools/github" }
  }
}

variables {
  project_id          = "example-staging"
  environment         = "staging"
  repository          = "acme/account-rescoring"
  repository_owner_id = "12345"
}

run "only_this_repository_and_environment_deploy" {
  command = plan

  assert {
    condition     = google_iam_workload_identity_pool_provider.github.attribute_condition == "assertion.repository_owner_id == '12345' && (assertion.sub == 'repo:acme/account-rescoring:environment:staging' || assertion.sub == 'repo:acme/account-rescoring:environment:staging-plan')"
    error_message = "A token of another repository must be refused."
  }
  assert {
    condition     = endswith(google_service_account_iam_member.github["deployer"].member, "/subject/repo:acme/account-rescoring:environment:staging")
    error_message = "Only a run in the environment acts as its deployer."
  }
  assert {
    condition     = endswith(google_service_account_iam_member.github["planner"].member, "/subject/repo:acme/account-rescoring:environment:staging-plan")
    error_message = "A run of a pull request acts as the planner only."
  }
}

run "the_deployer_is_not_an_owner" {
  command = plan

  assert {
    condition     = length(setintersection(local.deployer_roles, ["roles/owner", "roles/editor", "roles/resourcemanager.projectIamAdmin", "roles/iam.roleAdmin", "roles/iam.serviceAccountAdmin", "roles/iam.serviceAccountTokenCreator", "roles/iam.serviceAccountUser"])) == 0
    error_message = "None of its roles is as powerful as owner, or can be used to get one."
  }
  assert {
    condition     = strcontains(google_project_iam_member.deployer_grants.condition[0].expression, "hasOnly(['projects/example-staging/roles/accountRescoringGeminiCaller', 'roles/bigquery.jobUser', 'roles/dataflow.developer', 'roles/dataflow.viewer', 'roles/dataflow.worker'])")
    error_message = "The deployer grants the pipeline's roles only."
  }
}

run "the_role_to_call_gemini_has_one_permission" {
  command = plan

  assert {
    condition     = google_project_iam_custom_role.gemini_caller.permissions == toset(["aiplatform.endpoints.predict"])
    error_message = "The worker's only permission in Vertex AI is to call a model."
  }
}

run "operators_act_for_an_hour" {
  command = plan

  variables {
    operators = ["group:oncall@example.com"]
  }

  assert {
    condition     = toset(keys(google_service_account_iam_member.operators)) == toset(["launcher group:oncall@example.com", "replay group:oncall@example.com"])
    error_message = "Operators launch and replay; they act as no other account."
  }
}

run "a_repository_has_an_owner" {
  command = plan

  variables {
    repository = "account-rescoring"
  }

  expect_failures = [var.repository]
}
