"""Writes what is made from the code: pages of ``docs/``, ``.env.example``, and parts of the store's README."""
