"""Names by which pods ask for nodes with GPUs."""

NVIDIA_GPU = "nvidia.com/gpu"
"""Resource of a whole NVIDIA GPU, and key of the taint that keeps other pods off its node."""
EKS_FAMILY = "eks.amazonaws.com/instance-family"
"""Label of the nodes of EKS Auto Mode."""
