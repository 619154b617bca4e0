# Alerts. Each links its section of docs/monitoring.md; a test compares them, and checks that each counter exists in the code.
# The queries are PromQL: Dataflow's counters are gauges of a running total.

locals {
  # The runbook that goes on where an alert's section of docs/monitoring.md ends.
  runbooks = {
    "job-is-not-running"  = { title = "Runbook: recovery after a crash", path = "runbooks/recover.md" }
    "job-failed"          = { title = "Runbook: recovery after a crash", path = "runbooks/recover.md" }
    "many-dead-letters"   = { title = "Runbook: dead letters", path = "runbooks/dead-letters.md" }
    "dead-letters-wait"   = { title = "Runbook: dead letters", path = "runbooks/dead-letters.md" }
    "dead-letters-expire" = { title = "Runbook: dead letters", path = "runbooks/dead-letters.md#4-replay" }
    "parking-lot-fills"   = { title = "Runbook: the parking lot", path = "runbooks/dead-letters.md#5-the-parking-lot" }
  }

  # The pipeline's counters in a window. An update restarts them from zero, so only increases count.
  counted = "dataflow_googleapis_com:job_user_counter{monitored_resource=\"dataflow_job\",job_name=\"${local.job_name}\",metric_name=\"%s\"}"
  counter = {
    for name in ["scored_total", "account_scoring_errors_total", "vertex_ai_token_usage_total", "rows_refused_total", "messages_total", "refused_total", "gemini_calls_total", "letters_published_total", "shadow_vertex_ai_token_usage_total"] :
    name => format(local.counted, name)
  }

  waiting = "pubsub_googleapis_com:subscription_num_undelivered_messages{monitored_resource=\"pubsub_subscription\",subscription_id=\"%s\"}"
  oldest  = "pubsub_googleapis_com:subscription_oldest_unacked_message_age{monitored_resource=\"pubsub_subscription\",subscription_id=\"%s\"}"
  system  = "dataflow_googleapis_com:%s{monitored_resource=\"dataflow_job\",job_name=\"${local.job_name}\"}"
  gemini  = "aiplatform_googleapis_com:publisher_online_serving_model_invocation_count{monitored_resource=\"aiplatform.googleapis.com/PublisherModel\"%s}"

  gemini_ratio = join(" / ", [
    "sum(increase(${format(local.gemini, ",response_code=~\"429|5..\"")}[10m]))",
    "sum(increase(${format(local.gemini, "")}[10m]))",
  ])
  dead_letter_ratio = join(" / ", [
    "sum(clamp_min(delta(${local.counter["letters_published_total"]}[30m]), 0))",
    "clamp_min(sum(clamp_min(delta(${local.counter["messages_total"]}[30m]), 0)), 1)",
  ])

  alerts = {
    "job-is-not-running" = {
      title    = "The job is not running"
      severity = "CRITICAL"
      query    = "absent(${format(local.system, "job_system_lag")})"
      duration = "900s"
    }
    "job-failed" = {
      title    = "The job has failed"
      severity = "CRITICAL"
      query    = "max(${format(local.system, "job_is_failed")}) > 0"
      duration = "0s"
    }
    "data-grows-old" = {
      title    = "Changes wait inside the job"
      severity = "ERROR"
      query    = "max(${format(local.system, "job_system_lag")}) > ${var.alert_thresholds.system_lag_seconds} or max(${format(local.system, "job_data_watermark_age")}) > ${var.alert_thresholds.watermark_age_seconds}"
      duration = "300s"
    }
    "backlog-grows-old" = {
      title    = "Messages wait in Pub/Sub"
      severity = "WARNING"
      query    = "max(${format(local.oldest, google_pubsub_subscription.rescoring.name)}) > ${var.alert_thresholds.backlog_age_seconds}"
      duration = "300s"
    }
    "nothing-is-scored" = {
      title    = "Messages arrive, and nothing is scored"
      severity = "ERROR"
      query    = "sum(clamp_min(delta(${local.counter["messages_total"]}[30m]), 0)) > 100 and (sum(clamp_min(delta(${local.counter["scored_total"]}[30m]), 0)) or vector(0)) == 0"
      duration = "600s"
    }
    "gemini-refuses" = {
      title    = "Gemini refuses calls"
      severity = "ERROR"
      query    = "${local.gemini_ratio} > ${var.alert_thresholds.gemini_error_ratio}"
      duration = "600s"
    }
    "many-dead-letters" = {
      title    = "Many changes are dead-lettered"
      severity = "ERROR"
      query    = "${local.dead_letter_ratio} > ${var.alert_thresholds.dead_letter_ratio}"
      duration = "300s"
    }
    "rows-refused" = {
      title    = "BigQuery refuses rows"
      severity = "ERROR"
      query    = "sum(clamp_min(delta(${local.counter["rows_refused_total"]}[30m]), 0)) > 0"
      duration = "0s"
    }
    "events-refused" = {
      title    = "Messages that are not change events"
      severity = "WARNING"
      query    = "sum(clamp_min(delta(${local.counter["refused_total"]}[1h]), 0)) > 50"
      duration = "0s"
    }
    "tokens-run-away" = {
      title    = "More tokens than the threshold"
      severity = "WARNING"
      query    = "sum(clamp_min(delta(${local.counter["vertex_ai_token_usage_total"]}[1h]), 0)) + (sum(clamp_min(delta(${local.counter["shadow_vertex_ai_token_usage_total"]}[1h]), 0)) or vector(0)) > ${var.alert_thresholds.tokens_an_hour}"
      duration = "0s"
    }
    "dead-letters-wait" = {
      title    = "Dead letters wait for a replay"
      severity = "WARNING"
      query    = "max(${format(local.waiting, google_pubsub_subscription.dead_letter_hold.name)}) > ${var.alert_thresholds.held_dead_letters}"
      duration = "3600s"
    }
    "dead-letters-expire" = {
      title    = "Dead letters in the hold subscription expire soon"
      severity = "ERROR"
      query    = "max(${format(local.oldest, google_pubsub_subscription.dead_letter_hold.name)}) > ${min(var.alert_thresholds.held_dead_letter_age_days, var.retention.dead_messages_days - 1) * local.day_seconds}"
      duration = "0s"
    }
    "parking-lot-fills" = {
      title    = "Messages are in the parking lot"
      severity = "WARNING"
      query    = "max(${format(local.waiting, google_pubsub_subscription.parking_lot_hold.name)}) > 0"
      duration = "300s"
    }
    "archive-falls-behind" = {
      title    = "Dead letters don't reach the archive"
      severity = "WARNING"
      query    = "max(${format(local.oldest, google_pubsub_subscription.dead_letter_archive.name)}) > 3600"
      duration = "300s"
    }
  }
}

resource "google_monitoring_alert_policy" "of" {
  for_each = local.alerts

  display_name          = "Account rescoring (${var.environment}): ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = var.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = each.value.title

    condition_prometheus_query_language {
      query               = each.value.query
      duration            = each.value.duration
      evaluation_interval = "60s"
      # Cloud Monitoring does not know the counters of a job that has not run yet.
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    mime_type = "text/markdown"
    subject   = each.value.title
    content   = "[What it means and what to do](${var.docs_url}/monitoring.md#${each.key})"

    links {
      display_name = "What it means and what to do"
      url          = "${var.docs_url}/monitoring.md#${each.key}"
    }

    dynamic "links" {
      for_each = contains(keys(local.runbooks), each.key) ? [local.runbooks[each.key]] : []

      content {
        display_name = links.value.title
        url          = "${var.docs_url}/${links.value.path}"
      }
    }
  }

  depends_on = [google_project_service.used]
}
