"""A cluster on one machine: Deployments are supervised processes, Services are TCP forwarders. See README.md."""
