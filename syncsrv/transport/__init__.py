"""SSH between nodes and for people; the only package that knows paramiko."""
