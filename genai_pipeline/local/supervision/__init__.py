"""Keeps processes: one supervisord for each home, and what it is told."""
