"""The built-in algorithms, a folder each, all of one shape; found through the entry points `wildsage.algorithms`."""
