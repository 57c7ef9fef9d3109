"""The services that make one machine stand in for the cloud, and their supervision."""
