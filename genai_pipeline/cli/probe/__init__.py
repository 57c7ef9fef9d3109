"""`genai doctor --probe`: what only a pod in the cluster can tell."""
