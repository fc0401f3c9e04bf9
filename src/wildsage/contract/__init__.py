"""The corridor between the two wings: what a job reads, writes and answers. Pure data, no numerics."""
