"""Tasks and their executions as Ona (formerly Gitpod) has them, for its own unmodified client."""
