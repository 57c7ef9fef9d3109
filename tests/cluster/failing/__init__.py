"""Deployments that cannot become ready, each for a reason of its own."""
