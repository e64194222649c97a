"""The process ``carp``: it owns the virtual addresses. A small import list: the standard library, carp, the ground."""
