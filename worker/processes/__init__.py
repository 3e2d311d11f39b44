"""The worker's side of its spawner: processes of commands and callables as handles."""
