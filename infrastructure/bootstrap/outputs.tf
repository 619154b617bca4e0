output "state_bucket" {
  description = "For environments/NAME.gcs.tfbackend."
  value       = google_storage_bucket.state.name
}

output "workload_identity_provider" {
  description = "For the GitHub environments' variable WORKLOAD_IDENTITY_PROVIDER."
  value       = google_iam_workload_identity_pool_provider.github.name
}

output "service_accounts" {
  description = "The accounts, by what they do. GitHub's variable DEPLOY_SERVICE_ACCOUNT is the deployer's, and the planner's in NAME-plan."
  value       = { for name, account in google_service_account.of : name => account.email }
}
