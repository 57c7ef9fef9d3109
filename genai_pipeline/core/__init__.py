"""Pure data and arithmetic: no network, no Dagster, no clock of its own."""
