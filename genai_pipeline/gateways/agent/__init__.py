"""Agent services: `POST /agent`."""
