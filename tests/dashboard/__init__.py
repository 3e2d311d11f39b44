"""The dashboard in a real browser, before a real fleet. Without a Chromium it is skipped."""
