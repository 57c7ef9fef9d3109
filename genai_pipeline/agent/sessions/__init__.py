"""Conversations by id: one agent each, in order, bound to their callers, and kept where a setting says."""
