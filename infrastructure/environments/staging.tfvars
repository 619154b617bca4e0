# Staging: small, and can be deleted. Replace the names with `example`.
project_id          = "example-rescoring-staging"
environment         = "staging"
docs_url            = "https://github.com/example/account-rescoring/blob/main/docs"
deletion_protection = false

workers = {
  min = 1
  max = 3
}

retention = {
  change_messages_days = 3
  dead_messages_days   = 7
  partitions_days      = 60
}
