"""The object store: staged models, records, pointers."""
