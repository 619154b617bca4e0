# The job. A new image or parameter updates it in place, by name (docs/adr/060). If an update is not compatible, drain it and
# start it again: terraform apply -replace='google_dataflow_flex_template_job.rescoring[0]'.

locals {
  job_name = "account-rescoring"
  metadata = jsondecode(file("${path.module}/flex_template/metadata.json"))
  accepted = { for parameter in local.metadata.parameters : parameter.name => parameter.regexes[0] }

  template = var.images == null ? null : jsonencode({
    image              = var.images.launcher
    metadata           = local.metadata
    sdkInfo            = { language = "PYTHON" }
    defaultEnvironment = {}
  })

  parameters = merge(
    {
      subscription                     = google_pubsub_subscription.rescoring.id
      dead_letter_topic                = google_pubsub_topic.changes["account-changes-dead-letter"].id
      dataset                          = google_bigquery_dataset.account_scoring.dataset_id
      crm_dataset                      = coalesce(var.crm_dataset, google_bigquery_dataset.crm.dataset_id)
      number_of_worker_harness_threads = tostring(var.workers.threads)
      dataflow_service_options         = "min_num_workers=${var.workers.min},worker_utilization_hint=${var.workers.utilization_hint}"
    },
    var.workers.max_active_bundles == null ? {} : { resource_hints = "max_active_bundles_per_worker=${var.workers.max_active_bundles}" },
    var.redis == null ? {} : { redis_url = "redis://${google_redis_instance.context_cache[0].host}:${google_redis_instance.context_cache[0].port}/0" },
    var.pipeline_parameters,
  )
}

# The request by which deploy.sh asks whether the running job can be replaced: the job below, with an option by which Dataflow
# compares the two graphs and starts nothing.
locals {
  validation = var.images == null ? null : {
    launchParameter = {
      jobName               = local.job_name
      update                = true
      transformNameMappings = var.transform_name_mapping
      containerSpecGcsPath  = "gs://${google_storage_bucket.staging.name}/${google_storage_bucket_object.template[0].name}"
      parameters = merge(local.parameters, {
        dataflow_service_options = "${local.parameters.dataflow_service_options},graph_validate_only"
      })
      environment = {
        stagingLocation       = "gs://${google_storage_bucket.staging.name}/staging"
        tempLocation          = "gs://${google_storage_bucket.staging.name}/temp"
        serviceAccountEmail   = local.email["worker"]
        sdkContainerImage     = var.images.worker
        machineType           = var.workers.machine_type
        numWorkers            = var.workers.min
        maxWorkers            = var.workers.max
        enableStreamingEngine = true
        subnetwork            = "regions/${var.region}/subnetworks/${google_compute_subnetwork.workers.name}"
        ipConfiguration       = "WORKER_IP_PRIVATE"
        additionalUserLabels  = local.labels
      }
    }
  }
}

# Named by its content: the template of a running job never changes, and is kept for a rollback.
resource "google_storage_bucket_object" "template" {
  count = var.images == null ? 0 : 1

  bucket       = google_storage_bucket.staging.name
  name         = "templates/${local.job_name}-${substr(sha256(local.template), 0, 16)}.json"
  content      = local.template
  content_type = "application/json"
}

resource "google_dataflow_flex_template_job" "rescoring" {
  provider = google-beta
  count    = var.images == null ? 0 : 1

  name                    = local.job_name
  region                  = var.region
  container_spec_gcs_path = "gs://${google_storage_bucket.staging.name}/${google_storage_bucket_object.template[0].name}"
  staging_location        = "gs://${google_storage_bucket.staging.name}/staging"
  temp_location           = "gs://${google_storage_bucket.staging.name}/temp"
  parameters              = local.parameters
  transform_name_mapping  = var.transform_name_mapping
  labels                  = local.labels

  service_account_email   = local.email["worker"]
  sdk_container_image     = var.images.worker
  machine_type            = var.workers.machine_type
  num_workers             = var.workers.min
  max_workers             = var.workers.max
  enable_streaming_engine = true
  autoscaling_algorithm   = "THROUGHPUT_BASED"

  subnetwork       = "regions/${var.region}/subnetworks/${google_compute_subnetwork.workers.name}"
  ip_configuration = "WORKER_IP_PRIVATE"

  # The job finishes its work in flight before it is deleted.
  on_delete                    = "drain"
  skip_wait_on_job_termination = false

  lifecycle {
    precondition {
      condition     = alltrue([for name in keys(local.parameters) : contains(keys(local.accepted), name)])
      error_message = "pipeline_parameters names an unknown option of the pipeline; `rescore run --list-options` lists them."
    }
    precondition {
      condition = alltrue([
        for name, value in var.pipeline_parameters : can(regex(lookup(local.accepted, name, ".*"), value))
      ])
      error_message = "A value in pipeline_parameters does not match its pattern in flex_template/metadata.json."
    }
  }

  depends_on = [
    google_artifact_registry_repository_iam_member.images,
    google_bigquery_dataset_iam_member.worker_context,
    # A new column is there before a job writes it.
    google_bigquery_table.of,
    google_bigquery_table.view,
    google_bigquery_table_iam_member.worker_writes,
    google_project_iam_member.worker,
    google_pubsub_subscription_iam_member.worker_reads,
    google_pubsub_topic_iam_member.worker_dead_letters,
    google_storage_bucket_iam_member.staging,
  ]
}
