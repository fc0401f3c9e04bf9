"""Kernels of random cut forests: which rows are kept, the trees over them, and what trees say of a row."""
