"""Programs that use the managed files: their state, their health, start, stop, restart."""
