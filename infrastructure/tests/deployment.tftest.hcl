# The plan of an environment with mocked providers: resources and permissions.

mock_provider "google" {
  mock_resource "google_pubsub_topic" {
    override_during = plan
    defaults        = { id = "projects/example-rescoring/topics/mocked" }
  }
  mock_resource "google_pubsub_subscription" {
    override_during = plan
    defaults        = { id = "projects/example-rescoring/subscriptions/mocked" }
  }
  mock_resource "google_redis_instance" {
    override_during = plan
    defaults = {
      host = "10.20.1.3"
      port = 6379
    }
  }
}
mock_provider "google-beta" {}

variables {
  project_id  = "example-rescoring"
  environment = "staging"
  docs_url    = "https://example.com/docs"
  images = {
    launcher = "europe-west1-docker.pkg.dev/p/account-rescoring/launcher@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    worker   = "europe-west1-docker.pkg.dev/p/account-rescoring/worker@sha256:1111111111111111111111111111111111111111111111111111111111111111"
  }
}

run "tables_are_those_of_the_models" {
  command = plan

  assert {
    condition = alltrue([
      for name in ["account_scoring/account_scores", "account_scoring/change_outcomes", "account_scoring/dead_letters", "crm/accounts"] :
      contains(keys(google_bigquery_table.of), name)
    ])
    error_message = "A table of schemas/tables.py is missing."
  }
  assert {
    condition     = google_bigquery_table.of["account_scoring/account_scores"].time_partitioning[0].field == "scored_at"
    error_message = "Scores are partitioned by the day of scored_at."
  }
  assert {
    condition     = google_bigquery_table.of["account_scoring/account_scores"].clustering == tolist(["account_id"])
    error_message = "Scores are clustered by account."
  }
  assert {
    condition     = length(google_bigquery_table.of["crm/accounts"].time_partitioning) == 0
    error_message = "Accounts are not partitioned."
  }
  assert {
    condition     = strcontains(google_bigquery_table.view["account_scoring/current_account_scores"].view[0].query, "`example-rescoring.account_scoring.account_scores`")
    error_message = "The view reads the table of this project."
  }
}

run "nothing_disappears" {
  command = plan

  assert {
    condition     = alltrue([for it in [google_pubsub_subscription.rescoring, google_pubsub_subscription.dead_letter_hold, google_pubsub_subscription.parking_lot_hold, google_pubsub_subscription.dead_letter_archive] : it.expiration_policy[0].ttl == ""])
    error_message = "A subscription that nobody reads for a month must not be deleted with its messages."
  }
  assert {
    condition     = length(google_pubsub_subscription.rescoring.dead_letter_policy) == 0 && google_pubsub_subscription.rescoring.enable_exactly_once_delivery != true
    error_message = "A subscription that Dataflow reads supports neither a dead-letter policy nor exactly-once delivery (docs/adr/063)."
  }
  assert {
    condition     = google_pubsub_subscription.dead_letter_hold.enable_exactly_once_delivery && length(google_pubsub_subscription.dead_letter_hold.dead_letter_policy) == 0
    error_message = "The hold subscription delivers exactly once, and has no dead-letter policy that counts nacks."
  }
  assert {
    condition     = google_pubsub_subscription.dead_letter_hold.message_retention_duration == "2678400s"
    error_message = "Dead letters are held for as long as Pub/Sub allows."
  }
  assert {
    condition     = google_pubsub_subscription.dead_letter_archive.dead_letter_policy[0].max_delivery_attempts == 20 && google_pubsub_subscription.dead_letter_archive.bigquery_config[0].write_metadata
    error_message = "The archive keeps attributes, and parks messages that BigQuery refuses."
  }
  assert {
    condition     = google_bigquery_table.dead_letter_messages.deletion_protection
    error_message = "Tables are protected unless an environment overrides it."
  }
}

run "workers_are_private_and_the_job_is_drained" {
  command = plan

  assert {
    condition     = google_dataflow_flex_template_job.rescoring[0].ip_configuration == "WORKER_IP_PRIVATE" && google_compute_subnetwork.workers.private_ip_google_access
    error_message = "Workers have no public address, and reach Google's APIs."
  }
  assert {
    condition     = google_dataflow_flex_template_job.rescoring[0].on_delete == "drain"
    error_message = "A job that is deleted finishes its work in flight."
  }
  assert {
    condition     = google_dataflow_flex_template_job.rescoring[0].name == "account-rescoring"
    error_message = "An update finds the job by this name."
  }
  assert {
    condition     = google_dataflow_flex_template_job.rescoring[0].parameters.dataflow_service_options == "min_num_workers=1,worker_utilization_hint=0.5"
    error_message = "The autoscaler gets the minimum of workers and the utilization hint."
  }
  assert {
    condition = (
      local.validation.launchParameter.update
      && local.validation.launchParameter.parameters.dataflow_service_options == "min_num_workers=1,worker_utilization_hint=0.5,graph_validate_only"
      && local.validation.launchParameter.environment.sdkContainerImage == google_dataflow_flex_template_job.rescoring[0].sdk_container_image
      && local.validation.launchParameter.environment.subnetwork == google_dataflow_flex_template_job.rescoring[0].subnetwork
      && local.validation.launchParameter.environment.machineType == google_dataflow_flex_template_job.rescoring[0].machine_type
      && local.validation.launchParameter.environment.serviceAccountEmail == google_dataflow_flex_template_job.rescoring[0].service_account_email
      && alltrue([for name, value in google_dataflow_flex_template_job.rescoring[0].parameters : name == "dataflow_service_options" || local.validation.launchParameter.parameters[name] == value])
    )
    error_message = "The validation asks about the job that is deployed, and starts nothing."
  }
  assert {
    condition     = jsondecode(google_storage_bucket_object.template[0].content).image == var.images.launcher
    error_message = "The template starts the deployed image."
  }
  assert {
    condition     = length(google_compute_router_nat.egress) == 0
    error_message = "Without Salesforce, workers have no way to the internet."
  }
}

run "accounts_have_only_the_roles_that_they_need" {
  command = plan

  assert {
    condition = toset([for it in google_project_iam_member.worker : it.role]) == toset([
      "projects/example-rescoring/roles/accountRescoringGeminiCaller", "roles/bigquery.jobUser", "roles/dataflow.viewer", "roles/dataflow.worker",
    ])
    error_message = "The worker has three roles on the project and the role to call a model; as the template's launcher it lists jobs."
  }
  assert {
    condition = toset([for it in google_pubsub_subscription_iam_member.replay_reads : "${it.role} ${it.member}"]) == toset([
      "roles/pubsub.subscriber serviceAccount:rescoring-replay@example-rescoring.iam.gserviceaccount.com",
      "roles/pubsub.viewer serviceAccount:rescoring-replay@example-rescoring.iam.gserviceaccount.com",
    ]) && length(google_pubsub_subscription_iam_member.replay_reads) == 4
    error_message = "A replay looks at the hold and the parking lot, and pulls from them."
  }
  assert {
    condition     = toset([for it in google_secret_manager_secret_iam_member.reader : it.member]) == toset(["serviceAccount:rescoring-api@example-rescoring.iam.gserviceaccount.com", "serviceAccount:rescoring-worker@example-rescoring.iam.gserviceaccount.com"])
    error_message = "Each secret has one reader."
  }
  assert {
    condition     = google_bigquery_dataset_iam_member.worker_context.role == "roles/bigquery.dataViewer"
    error_message = "The worker may only read the mirror."
  }
  assert {
    condition     = toset(keys(google_pubsub_topic_iam_member.replay_publishes)) == toset(["account-changes", "account-changes-parking-lot"])
    error_message = "A replay publishes to the topics of changes and of parked messages only."
  }
}

run "beams_own_options_reach_the_job" {
  command = plan

  variables {
    workers = { max_active_bundles = 24 }
    pipeline_parameters = {
      default_sdk_harness_log_level   = "DEBUG"
      sdk_harness_log_level_overrides = "{\"transforms.score\": \"DEBUG\"}"
      experiments                     = "enable_data_sampling"
      materiality                     = "gs://example-rescoring-account-rescoring-staging/rules.yaml"
      schemas                         = "gs://example-rescoring-account-rescoring-staging/avro"
      dataset                         = "other_scoring"
      crm_dataset                     = "crm-warehouse.salesforce"
    }
  }

  assert {
    condition     = google_dataflow_flex_template_job.rescoring[0].parameters.resource_hints == "max_active_bundles_per_worker=24"
    error_message = "The hint by which the autoscaler counts bundles instead of CPU."
  }
  assert {
    condition     = google_dataflow_flex_template_job.rescoring[0].parameters.default_sdk_harness_log_level == "DEBUG"
    error_message = "A log level is a parameter like any other."
  }
}

run "the_mirror_may_be_another_projects" {
  command = plan

  variables {
    crm_dataset = "crm-warehouse.salesforce"
  }

  assert {
    condition     = google_dataflow_flex_template_job.rescoring[0].parameters.crm_dataset == "crm-warehouse.salesforce"
    error_message = "The job reads the mirror where it is."
  }
  assert {
    condition     = contains(output.crm_readers, "serviceAccount:rescoring-worker@example-rescoring.iam.gserviceaccount.com")
    error_message = "The mirror's owner is told who reads it."
  }
}

run "a_mirror_of_another_project_is_named_with_it" {
  command = plan

  variables {
    crm_dataset = "projects/crm-warehouse/datasets/salesforce"
  }

  expect_failures = [var.crm_dataset]
}

run "a_standby_region_has_what_a_job_needs" {
  command = plan

  variables {
    standby                    = { region = "europe-west4" }
    salesforce_hosts_reachable = true
  }

  assert {
    condition     = alltrue([for topic in google_pubsub_topic.changes : toset(topic.message_storage_policy[0].allowed_persistence_regions) == toset(["europe-west1", "europe-west4"])])
    error_message = "Changes can be published while one of the two regions is down."
  }
  assert {
    condition = toset(concat(
      [google_compute_subnetwork.standby[0].region, google_compute_router_nat.standby[0].region],
      [google_artifact_registry_repository.standby[0].location, google_storage_bucket.standby[0].location],
    )) == toset(["europe-west4"])
    error_message = "Subnetwork, way to Salesforce, images and bucket are in the standby region."
  }
  assert {
    condition     = length(google_storage_bucket_iam_member.standby) == 4 && length(google_artifact_registry_repository_iam_member.standby) == 2
    error_message = "Worker and launcher use the standby's bucket and images."
  }
  assert {
    condition     = length(google_secret_manager_secret.held["salesforce-client-secret"].replication[0].user_managed[0].replicas) == 2
    error_message = "A secret can be read while one of the two regions is down."
  }
}

run "without_a_standby_region_nothing_is_made_for_it" {
  command = plan

  assert {
    condition     = length(google_compute_subnetwork.standby) + length(google_storage_bucket.standby) + length(google_artifact_registry_repository.standby) == 0 && output.standby_images == null
    error_message = "The standby region is optional."
  }
}

run "the_standby_region_is_another_one" {
  command = plan

  variables {
    standby = { region = "europe-west1" }
  }

  expect_failures = [var.standby]
}

run "without_images_there_is_no_job_yet" {
  command = plan

  variables {
    images = null
  }

  assert {
    condition     = length(google_dataflow_flex_template_job.rescoring) == 0 && output.job_id == null
    error_message = "The first apply creates the registry to which images are pushed, and no job."
  }
}

run "redis_is_optional_and_private" {
  command = plan

  variables {
    images = null
    redis  = {}
  }

  assert {
    condition     = google_redis_instance.context_cache[0].connect_mode == "PRIVATE_SERVICE_ACCESS"
    error_message = "Only the workers' network reaches the cache."
  }
}

run "salesforce_needs_cloud_nat" {
  command = plan

  variables {
    salesforce_hosts_reachable = true
  }

  assert {
    condition     = length(google_compute_router_nat.egress) == 1
    error_message = "Workers reach Salesforce through Cloud NAT."
  }
}

run "every_alert_links_its_runbook" {
  command = plan

  assert {
    condition = alltrue([
      for key, policy in google_monitoring_alert_policy.of :
      policy.documentation[0].links[0].url == "https://example.com/docs/monitoring.md#${key}" && strcontains(policy.documentation[0].content, policy.documentation[0].links[0].url)
    ])
    error_message = "An alert links its section of docs/monitoring.md."
  }
  assert {
    condition     = google_monitoring_alert_policy.of["dead-letters-expire"].documentation[0].links[1].url == "https://example.com/docs/runbooks/dead-letters.md#4-replay"
    error_message = "An alert about dead letters links their runbook."
  }
  assert {
    condition     = length(setsubtract(keys(local.runbooks), keys(local.alerts))) == 0
    error_message = "Every runbook belongs to an alert."
  }
  assert {
    condition     = length(jsondecode(google_monitoring_dashboard.rescoring.dashboard_json).mosaicLayout.tiles) == length(local.tiles)
    error_message = "The dashboard shows every tile."
  }
}

run "an_unknown_option_stops_the_plan" {
  command = plan

  variables {
    pipeline_parameters = { modle = "gemini-3.5-flash-lite" }
  }

  expect_failures = [google_dataflow_flex_template_job.rescoring]
}

run "an_invalid_value_stops_the_plan" {
  command = plan

  variables {
    pipeline_parameters = { accounts_per_call = "0" }
  }

  expect_failures = [google_dataflow_flex_template_job.rescoring]
}

run "images_are_named_by_digest" {
  command = plan

  variables {
    images = { launcher = "launcher:latest", worker = "worker:latest" }
  }

  expect_failures = [var.images]
}

run "pubsub_keeps_a_month_at_most" {
  command = plan

  variables {
    retention = { dead_messages_days = 60 }
  }

  expect_failures = [var.retention]
}

run "links_of_alerts_have_a_scheme" {
  command = plan

  variables {
    docs_url = "github.com/acme/account-rescoring/blob/main/docs"
  }

  expect_failures = [var.docs_url]
}
