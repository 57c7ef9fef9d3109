"""The Strands agent service: its own image, imports nothing else of this package."""
