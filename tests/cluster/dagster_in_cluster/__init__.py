"""Dagster inside the cluster, as charts/genai-pipeline installs it: its images, its installation, its runs."""
