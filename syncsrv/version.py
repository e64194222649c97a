"""Which syncsrv this is. Nothing is imported, so that asking costs nothing."""

__version__ = "0.1.0"

PROTOCOL = 1
"""Of the frames and verbs between processes and nodes; nodes with different ones do not synchronize."""
