"""The models of the agent: endpoints in the order in which they are asked, each behind a circuit breaker."""
