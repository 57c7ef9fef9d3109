"""OpenAI-compatible inference endpoints."""
