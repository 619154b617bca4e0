# The variables of each environment give a valid plan: terraform test -var-file=environments/NAME.tfvars

mock_provider "google" {}
mock_provider "google-beta" {}

run "plans" {
  command = plan

  assert {
    condition     = endswith(var.project_id, var.environment)
    error_message = "An environment's file names its own project."
  }
  assert {
    condition     = var.environment != "production" || (var.deletion_protection && var.workers.min >= 2)
    error_message = "Production is protected, and has at least two workers."
  }
}
