output "images" {
  description = "Registry to which images are pushed."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"
}

output "staging_bucket" {
  description = "Bucket for staged jobs and templates."
  value       = google_storage_bucket.staging.name
}

output "job_id" {
  description = "The running job; null before the first images are deployed."
  value       = one(google_dataflow_flex_template_job.rescoring[*].job_id)
}

output "running_images" {
  description = "The images deployed last, so that a plan can keep them; null before the first deployment."
  value       = var.images
}

output "crm_readers" {
  description = "Members that read the CRM mirror. If crm_dataset names another project, its owner grants them roles/bigquery.dataViewer on it."
  value       = [for account in ["worker", "replay", "api"] : local.member[account]]
}

output "standby_images" {
  description = "Registry of the standby region, to which images are copied; null without one."
  value       = one([for it in google_artifact_registry_repository.standby : "${it.location}-docker.pkg.dev/${var.project_id}/${it.repository_id}"])
}
