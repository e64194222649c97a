"""Pure: what would change, whether it may, and what the state of a node is called."""
