"""Segments to files that other programs read."""
