# Production. The names with `example` are the owner's to fill in.
project_id  = "example-rescoring-production"
environment = "production"

workers = {
  min = 2
  max = 20
}

score_readers = ["group:revops@example.com"]
