variable "project_id" {
  description = "The Google Cloud project of this environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project id has 6 to 30 lower-case letters, digits and hyphens, and starts with a letter."
  }
}

variable "environment" {
  description = "The environment: staging or production."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "The environment is staging or production."
  }
}

variable "region" {
  description = "Region of workers, buckets and secrets."
  type        = string
  default     = "europe-west1"
}

variable "standby" {
  description = "A second region, to which the job can be moved if the first one is down. Null: none (docs/runbooks/region-failover.md)."
  type = object({
    region          = string
    subnetwork_cidr = optional(string, "10.20.2.0/24")
  })
  default = null

  validation {
    condition     = var.standby == null ? true : var.standby.region != var.region
    error_message = "The standby region is another one than region."
  }
}

variable "bigquery_location" {
  description = "Location of the datasets; a dataset can't be moved later."
  type        = string
  default     = "EU"
}

variable "crm_dataset" {
  description = "Dataset of the CRM mirror. Null: crm of this project, which is created here. PROJECT.DATASET: another project's, in the same location; its owner grants the members of the output crm_readers roles/bigquery.dataViewer on it."
  type        = string
  default     = null

  validation {
    condition     = var.crm_dataset == null ? true : can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]\\.[A-Za-z0-9_]+$", var.crm_dataset))
    error_message = "Another project's dataset is named PROJECT.DATASET."
  }
}

variable "images" {
  description = "Images of the Flex Template's launcher and of the workers, by digest. Null: no job is created."
  type = object({
    launcher = string
    worker   = string
  })
  default = null

  validation {
    condition     = var.images == null ? true : alltrue([for image in values(var.images) : can(regex("@sha256:[0-9a-f]{64}$", image))])
    error_message = "Name images by digest (…@sha256:…), so that the tested image is the one that runs."
  }
}

variable "pipeline_parameters" {
  description = "Options of the pipeline that differ from their defaults, as `rescore run --list-options` names them."
  type        = map(string)
  default     = {}
}

variable "transform_name_mapping" {
  description = "Old step label to new step label, for an update that renames steps. Empty it in the next release."
  type        = map(string)
  default     = {}
}

variable "workers" {
  description = "Machine type, minimum and maximum of workers, threads per worker process, and target CPU utilization (docs/adr/060)."
  type = object({
    machine_type     = optional(string, "n2-standard-2")
    min              = optional(number, 1)
    max              = optional(number, 10)
    threads          = optional(number, 24)
    utilization_hint = optional(number, 0.5)
    # Bundles that a worker is meant to work on at once; Dataflow then adds workers by parallelism instead of CPU. Null: by CPU.
    max_active_bundles = optional(number)
  })
  default = {}

  validation {
    condition     = var.workers.min >= 1 && var.workers.max >= var.workers.min
    error_message = "workers.min must be at least 1, and workers.max at least workers.min."
  }

  validation {
    condition     = var.workers.utilization_hint >= 0.1 && var.workers.utilization_hint <= 0.9
    error_message = "Dataflow accepts a utilization hint from 0.1 to 0.9."
  }
}

variable "subnetwork_cidr" {
  description = "Address range of the workers' subnetwork."
  type        = string
  default     = "10.20.0.0/24"
}

variable "salesforce_hosts_reachable" {
  description = "Whether workers may reach the internet through Cloud NAT; needed only to reread gaps from Salesforce."
  type        = bool
  default     = false
}

variable "redis" {
  description = "A Redis instance as second tier of the context cache; null: no instance."
  type = object({
    memory_size_gb = optional(number, 1)
    tier           = optional(string, "BASIC")
  })
  default = null
}

variable "retention" {
  description = "How long messages and rows are kept."
  type = object({
    # Pub/Sub keeps messages for 31 days at most.
    change_messages_days = optional(number, 7)
    dead_messages_days   = optional(number, 31)
    # The view of current scores reads 400 days.
    partitions_days = optional(number, 400)
  })
  default = {}

  validation {
    condition     = max(var.retention.change_messages_days, var.retention.dead_messages_days) <= 31
    error_message = "Pub/Sub keeps messages for 31 days at most."
  }
}

variable "deletion_protection" {
  description = "Whether to protect tables and non-empty datasets from terraform destroy."
  type        = bool
  default     = true
}

variable "score_readers" {
  description = "Members that may read scores, such as group:sales-ops@example.com."
  type        = list(string)
  default     = []
}

variable "notification_channels" {
  description = "Ids of the Cloud Monitoring notification channels that receive alerts."
  type        = list(string)
  default     = []
}

variable "docs_url" {
  description = "Web address of the folder docs of your copy of this repository: alerts link their runbooks there."
  type        = string

  validation {
    condition     = can(regex("^https://[^[:space:]]+[^/[:space:]]$", var.docs_url))
    error_message = "The address of the folder docs starts with https:// and has no slash at its end."
  }
}

variable "alert_thresholds" {
  description = "Thresholds of alerts; docs/monitoring.md says what to do when one fires."
  type = object({
    backlog_age_seconds       = optional(number, 900)
    system_lag_seconds        = optional(number, 900)
    watermark_age_seconds     = optional(number, 1800)
    dead_letter_ratio         = optional(number, 0.05)
    gemini_error_ratio        = optional(number, 0.2)
    tokens_an_hour            = optional(number, 20000000)
    held_dead_letters         = optional(number, 1000)
    held_dead_letter_age_days = optional(number, 21)
  })
  default = {}
}
