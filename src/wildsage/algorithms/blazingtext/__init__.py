"""BlazingText: text classification in fastText's way."""

from wildsage.algorithms.blazingtext.algorithm import BlazingText

__all__ = ["BlazingText"]
