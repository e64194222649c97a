"""The managed files on this disk: read exactly as they are, written so that a crash cannot tear them, put back."""
