"""The page: a process that renders, holds no authority of its own and no key but its TLS key (process ``web``)."""
