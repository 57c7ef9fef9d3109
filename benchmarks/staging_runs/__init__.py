"""What benchmarks/staging.py puts side by side."""
