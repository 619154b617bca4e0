"""Who asks, and what they may: Google's tokens, IAP's header, signatures of webhooks; docs/adr/081."""
