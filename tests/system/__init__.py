"""Tests with real processes: a whole fleet, ended and frozen in every way a machine can think of."""
