"""Text of the three configuration files → frozen objects, or every problem with its line."""
