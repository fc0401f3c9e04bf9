"""Bytes of a channel to batches of rows, whatever the format, the mode and the size; and back to bytes.

readers.open_channel is the way in; README.md tells the interface in a page.
"""
