# Second tier of the context cache. It is optional: without it each worker process only has its own cache.

resource "google_compute_global_address" "services" {
  count = var.redis == null ? 0 : 1

  name          = "account-rescoring-services"
  network       = google_compute_network.rescoring.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 24
}

resource "google_service_networking_connection" "services" {
  count = var.redis == null ? 0 : 1

  network                 = google_compute_network.rescoring.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services[0].name]
}

resource "google_redis_instance" "context_cache" {
  #checkov:skip=CKV_GCP_95:The address is a pipeline option, which the console shows, so it must not contain a password. Only the workers' network reaches the instance.
  #checkov:skip=CKV_GCP_97:Clients would need the instance's own CA file on each worker. Google encrypts traffic between its machines; the cache contains nothing that the workers' network may not see.
  count = var.redis == null ? 0 : 1

  name               = "account-rescoring-context"
  region             = var.region
  tier               = var.redis.tier
  memory_size_gb     = var.redis.memory_size_gb
  redis_version      = "REDIS_7_2"
  authorized_network = google_compute_network.rescoring.id
  connect_mode       = "PRIVATE_SERVICE_ACCESS"

  # When full, drop the least recently used entries.
  redis_configs = { maxmemory-policy = "allkeys-lru" }

  depends_on = [google_service_networking_connection.services]
}
