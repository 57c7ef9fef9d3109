"""The cluster: Kubernetes, or one machine that speaks the same objects."""
