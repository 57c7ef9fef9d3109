"""Metrics of running engines: their own /metrics, or a Prometheus."""
