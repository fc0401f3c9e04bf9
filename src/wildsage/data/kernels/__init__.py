"""The kernels that read and write rows."""
