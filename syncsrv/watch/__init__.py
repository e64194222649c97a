"""From the disk to a tree: scans, and notifications that say where to scan."""
