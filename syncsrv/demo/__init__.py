"""Two nodes on this machine that walk through the main job by themselves."""
