"""Makes a node a part of its machine: systemd units, users, what is started at boot; and takes all of it away again."""
