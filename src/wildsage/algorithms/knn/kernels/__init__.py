"""k-NN's numeric loops."""
