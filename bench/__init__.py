"""Measurements: one command prints a table. Start reading at ``__main__.py``."""
