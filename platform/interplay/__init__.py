"""Interplay finds out what matters when a vision backbone is trained."""

__version__ = "0.1.0"
