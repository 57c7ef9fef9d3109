"""Operators of others beside the control plane, as their projects publish them: Prometheus', and KEDA's.

They are for the tests of the night. `python -m tests.cluster.operators` builds them once, which takes minutes of
processor time. A test is skipped where its operator is not built.
"""
