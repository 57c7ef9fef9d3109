"""A release comes and goes: candidate, traffic, drain, roll back, end."""
