"""Explains why a Deployment does not become ready, from its objects, events and logs. Pure; for both clusters."""
