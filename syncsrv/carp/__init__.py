"""Pure: CARP version 2 as FreeBSD, OpenBSD and ucarp speak it, and what one node makes of what it hears.

No module here has a socket, a clock or chance: times are monotonic seconds that the caller brings along.
"""
