"""Training on an NVIDIA GPU: the same epochs as kernels for numba-cuda (extra `gpu`), which is imported here alone."""
