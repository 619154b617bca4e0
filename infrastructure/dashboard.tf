# The operator's dashboard: tiles in the order in which an operator needs them.

locals {
  tiles = [
    { title = "Age of the oldest waiting change, seconds", query = "max(${format(local.oldest, google_pubsub_subscription.rescoring.name)})" },
    { title = "Waiting changes", query = "max(${format(local.waiting, google_pubsub_subscription.rescoring.name)})" },
    { title = "System lag of the job, seconds", query = "max(${format(local.system, "job_system_lag")})" },
    { title = "Workers' virtual CPUs", query = "max(${format(local.system, "job_current_num_vcpus")})" },
    { title = "Messages and scores in 10 minutes", query = "sum by (metric_name) (clamp_min(delta(${format(local.counted_any, "messages_total|scored_total")}[10m]), 0))" },
    { title = "Gemini calls in 10 minutes", query = "sum(clamp_min(delta(${local.counter["gemini_calls_total"]}[10m]), 0))" },
    { title = "Gemini's answers by status", query = "sum by (response_code) (increase(${format(local.gemini, "")}[10m]))" },
    { title = "Tokens in an hour", query = "sum(clamp_min(delta(${local.counter["vertex_ai_token_usage_total"]}[1h]), 0))" },
    { title = "Failures in 10 minutes", query = "sum by (metric_name) (clamp_min(delta(${format(local.counted_any, "account_scoring_errors_total|refused_total|rows_refused_total")}[10m]), 0))" },
    { title = "Dead letters held", query = "max(${format(local.waiting, google_pubsub_subscription.dead_letter_hold.name)})" },
    { title = "Parked messages", query = "max(${format(local.waiting, google_pubsub_subscription.parking_lot_hold.name)})" },
    { title = "Age of the job's watermark, seconds", query = "max(${format(local.system, "job_data_watermark_age")})" },
  ]
  counted_any = "dataflow_googleapis_com:job_user_counter{monitored_resource=\"dataflow_job\",job_name=\"${local.job_name}\",metric_name=~\"%s\"}"
  columns     = 3
  tile_width  = 16
  tile_height = 12
}

resource "google_monitoring_dashboard" "rescoring" {
  dashboard_json = jsonencode({
    displayName = "Account rescoring (${var.environment})"
    labels      = { component = "account-rescoring" }
    mosaicLayout = {
      columns = local.columns * local.tile_width
      tiles = [
        for index, tile in local.tiles : {
          xPos   = index % local.columns * local.tile_width
          yPos   = floor(index / local.columns) * local.tile_height
          width  = local.tile_width
          height = local.tile_height
          widget = {
            title = tile.title
            xyChart = {
              dataSets = [{
                plotType        = "LINE"
                timeSeriesQuery = { prometheusQuery = tile.query }
              }]
            }
          }
        }
      ]
    }
  })

  depends_on = [google_project_service.used]
}
