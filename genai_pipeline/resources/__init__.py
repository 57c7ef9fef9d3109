"""Dagster resources: they build the gateways and engines for the profile."""
