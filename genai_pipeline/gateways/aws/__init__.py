"""AWS control planes (EKS, EC2 reservations)."""
