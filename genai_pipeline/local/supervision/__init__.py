"""Keeps processes: one supervisord for each home, and its configuration."""
