"""The manifests: readable YAML templates, one file a thing, and what renders them."""
