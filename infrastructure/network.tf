# Workers have no public addresses. They reach Google's APIs over Private Google Access, and the internet only if Cloud NAT is
# turned on.

resource "google_compute_network" "rescoring" {
  name                    = "account-rescoring"
  auto_create_subnetworks = false

  depends_on = [google_project_service.used]
}

resource "google_compute_subnetwork" "workers" {
  name                     = "account-rescoring-workers"
  network                  = google_compute_network.rescoring.id
  region                   = var.region
  ip_cidr_range            = var.subnetwork_cidr
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "EXCLUDE_ALL_METADATA"
  }
}

# Dataflow's workers talk to each other on these two ports, and carry this tag.
resource "google_compute_firewall" "between_workers" {
  name        = "account-rescoring-between-workers"
  network     = google_compute_network.rescoring.id
  source_tags = ["dataflow"]
  target_tags = ["dataflow"]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}

resource "google_compute_router" "egress" {
  count = var.salesforce_hosts_reachable ? 1 : 0

  name    = "account-rescoring"
  network = google_compute_network.rescoring.id
  region  = var.region
}

resource "google_compute_router_nat" "egress" {
  count = var.salesforce_hosts_reachable ? 1 : 0

  name                               = "account-rescoring"
  router                             = google_compute_router.egress[0].name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.workers.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}
