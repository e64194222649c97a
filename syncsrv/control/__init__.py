"""What a node can be asked: one table of verbs, frames to carry them, a server and a client."""
