"""Amazon SageMaker's built-in algorithms, growing wild."""

__version__ = "0.1.0"
