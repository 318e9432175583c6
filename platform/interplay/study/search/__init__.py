"""Searches: spaces, samplers, and the Optuna study that is their truth."""
