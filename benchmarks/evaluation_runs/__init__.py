"""What benchmarks/evaluation.py runs in processes of their own."""
