# Staging: small, and allowed to be thrown away. The names with `example` are the owner's to fill in.
project_id          = "example-rescoring-staging"
environment         = "staging"
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
