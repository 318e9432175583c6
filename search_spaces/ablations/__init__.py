"""Ablations: a question and named rows of changes, with published numbers where they exist."""
