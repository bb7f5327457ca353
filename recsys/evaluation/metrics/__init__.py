"""Metrics of ranked lists: one file a metric, and the registry that lists them."""
