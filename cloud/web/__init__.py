"""The page: static files served by the aggregator."""
