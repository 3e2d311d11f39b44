"""The worker's processes, started for real."""
