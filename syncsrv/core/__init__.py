"""The process that owns history, apply, services, keys, and who may do what."""
