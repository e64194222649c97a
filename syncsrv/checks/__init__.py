"""What this node would have, staged, and the areas' own checks run on it where nothing that they do lasts."""
