"""What only the APIs of other systems keep in the store; nothing else in ``shared.store`` knows of it."""
