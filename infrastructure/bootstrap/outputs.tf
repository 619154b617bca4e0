output "state_bucket" {
  description = "Bucket of the state, for environments/NAME.gcs.tfbackend."
  value       = google_storage_bucket.state.name
}

output "workload_identity_provider" {
  description = "Value of the variable WORKLOAD_IDENTITY_PROVIDER of the GitHub environments."
  value       = google_iam_workload_identity_pool_provider.github.name
}

output "service_accounts" {
  description = "Accounts by task. The variable DEPLOY_SERVICE_ACCOUNT is the deployer's account in the GitHub environment NAME, and the planner's in NAME-plan."
  value       = { for name, account in google_service_account.of : name => account.email }
}
