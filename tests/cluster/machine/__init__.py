"""A real Kubernetes on one machine: built once, started in seconds, gone without a trace."""
