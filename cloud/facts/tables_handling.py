"""Tables of rectification items, notification channels and deliveries."""
