"""Torch modules only: no files, no colour conversions, no time."""
