output "images" {
  description = "Where images are pushed."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"
}

output "staging_bucket" {
  description = "Where jobs are staged and templates kept."
  value       = google_storage_bucket.staging.name
}

output "job_id" {
  description = "The running job; null before the first images."
  value       = one(google_dataflow_flex_template_job.rescoring[*].job_id)
}

output "running_images" {
  description = "The images that were deployed last, for a plan that leaves them as they are; null before the first."
  value       = var.images
}
