"""The process ``statesync``: it keeps conntrackd, which carries open connections to the other node."""
