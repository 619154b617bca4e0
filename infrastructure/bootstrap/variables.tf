variable "project_id" {
  description = "The Google Cloud project of this environment."
  type        = string
}

variable "region" {
  description = "Region of the state bucket."
  type        = string
  default     = "europe-west1"
}

variable "environment" {
  description = "GitHub environment whose runs may deploy here; runs in NAME-plan may plan."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "The environment is staging or production."
  }
}

variable "repository" {
  description = "GitHub repository that deploys, as OWNER/NAME."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.repository))
    error_message = "The repository must be OWNER/NAME."
  }
}

variable "repository_owner_id" {
  description = "Id number of the repository's owner at GitHub. A released name can be registered by others, a number can't."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+$", var.repository_owner_id))
    error_message = "The owner's id must be a number: gh api users/OWNER --jq .id"
  }
}

variable "operators" {
  description = "Members that may act as the replay operator and as the launcher, such as group:revops-oncall@example.com."
  type        = list(string)
  default     = []
}
