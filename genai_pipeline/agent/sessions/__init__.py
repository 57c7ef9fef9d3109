"""Conversations by id: each has its own agent, an order of turns, an owner, and a place where it is stored."""
