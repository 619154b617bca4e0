variable "project_id" {
  description = "The Google Cloud project of this environment."
  type        = string
}

variable "region" {
  description = "Where the state is kept."
  type        = string
  default     = "europe-west1"
}

variable "environment" {
  description = "The GitHub environment whose runs may deploy here; NAME-plan may plan."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "The environment is staging or production."
  }
}

variable "repository" {
  description = "The GitHub repository that deploys, OWNER/NAME."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.repository))
    error_message = "A repository is OWNER/NAME."
  }
}

variable "repository_owner_id" {
  description = "The owner's number at GitHub: a name that was given up can be taken by somebody else, a number can't."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+$", var.repository_owner_id))
    error_message = "The owner's id is a number: gh api users/OWNER --jq .id"
  }
}

variable "operators" {
  description = "Who may act as the replay operator and as the launcher: members such as group:revops-oncall@example.com."
  type        = list(string)
  default     = []
}
