"""What AWS knows: EC2 reservations, quotas, instance types and prices; answers of Bedrock models."""
