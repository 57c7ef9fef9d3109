"""What people watch: dashboards, rules and alerts from the model files, and the exporter of releases."""
