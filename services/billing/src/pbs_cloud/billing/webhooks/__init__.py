"""Outgoing webhooks (rest-api D.8): configured per tenant, filled from events, delivered at least once."""
