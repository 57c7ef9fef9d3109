"""Jobs that act on a model or on the store, each with its op."""
