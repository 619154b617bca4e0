# Production. Replace the names with `example`.
project_id  = "example-rescoring-production"
environment = "production"
docs_url    = "https://github.com/example/account-rescoring/blob/main/docs"

workers = {
  min = 2
  max = 20
}

score_readers = ["group:revops@example.com"]

# To reread gaps from Salesforce:
#
# salesforce_hosts_reachable = true
# pipeline_parameters = {
#   salesforce_login_url = "https://example.my.salesforce.com"
#   salesforce_client_id = "…"
#   salesforce_secret    = "projects/example-rescoring-production/secrets/salesforce-client-secret"
# }
