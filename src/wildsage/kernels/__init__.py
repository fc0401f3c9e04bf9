"""What every kernel needs: the decorator with its cache on disk, and vectors of sixteen floats."""
