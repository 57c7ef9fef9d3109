"""Dashboards as code. `make dashboards` writes them as JSON; nothing that runs imports this room or Grafana's SDK."""
