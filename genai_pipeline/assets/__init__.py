"""The asset graph: thin Dagster over the engines; checks stand beside their asset."""
