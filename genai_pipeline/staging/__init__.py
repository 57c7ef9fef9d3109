"""Copy one revision from hub to store, verified, without local disk."""
