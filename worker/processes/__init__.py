"""The worker's side of the spawner: handles of the processes of commands and calls."""
