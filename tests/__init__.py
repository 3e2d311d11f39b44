"""Tests. Start reading in `story/`."""
