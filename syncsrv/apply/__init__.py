"""The one way to write a managed file: stage, check, journal, write, read back."""
