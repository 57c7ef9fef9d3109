"""Checks that schedules ask about what is live and what is staged. No release waits for them."""
