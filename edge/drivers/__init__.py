"""One module for each protocol: connect, read, close. Retry, schedule and back-off belong to the collector."""
