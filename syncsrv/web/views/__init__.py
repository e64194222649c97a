"""What a page shows, worked out from what core answered: pure functions, no Flask."""
