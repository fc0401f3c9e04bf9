"""The user's Python API, in the names of SageMaker's SDK v2: module for module, argument for argument."""
