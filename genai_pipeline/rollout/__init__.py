"""Candidate, cut-over, drain, roll back: how a release comes to have user traffic."""
