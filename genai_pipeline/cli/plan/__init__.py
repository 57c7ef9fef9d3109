"""`genai plan`: what a rollout of a model file would do, found out without a write."""
