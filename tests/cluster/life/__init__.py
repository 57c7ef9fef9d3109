"""What surrounds a model's life on the cluster: images, S3, hub, weather, Dagster and its account."""
