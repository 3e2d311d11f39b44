"""Faults of the table in ``docs/faults.md`` that no other test of the system meets."""
