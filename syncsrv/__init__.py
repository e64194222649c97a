"""syncsrv keeps a pair, or a small group, of Linux hosts that do the same job equal: on command, and reversibly.

One host is the *master*: people change files there, and every change is committed to a Git repository. The others are
*backups*: one pulls a signed tag when an operator asks, checks it, writes it, reads it back, and puts everything back
if anything fails. The data goes one way, and so does the code; the folders stand here in that order:

    config     node.yaml, cluster.yaml, secrets.yaml: text to frozen objects, or every problem with its line
    plan       pure: what a tree is, which path belongs to which area, what differs, what would change, which guards
               fire, which word a node's state has
    carp       pure: CARP byte for byte, what is believed of what is heard, and which node holds an address
    watch      a file changes: inotify is the hint, the scan of the disk the truth
    store      the Git repository: trees with their metadata, commits, signed tags, history, what travels; dulwich
    services   daemons: supervisor, systemd or plain commands, in order, with their health
    control    what a node can be asked: one table of verbs, the frames they travel in, who may ask
    failover   the carp process: sockets, addresses and timers of the kernel, and what it can be asked; and beside it
               statesync, which keeps conntrackd, so that open connections live on
    transport  the door process: SSH in and out; paramiko
    disk       the managed files on this disk: read exactly, written so that a crash cannot tear them, put back
    checks     what this node would have, staged, and the areas' own checks run on it where nothing they do lasts
    apply      the one engine: record, plan, guards, checks, journal, write, read back, services, put back
    core       the core process: joins all of these; jobs, people, peers; its half of SSH: core/ssh, of carp: core/carp
    install    what makes a node a part of its machine: systemd units, users
    web        the page's process: what core knows, as pages and as an API; flask, cheroot
    cli        the command line; its commands that only ask core import nothing heavy
    demo       two nodes on one machine, driven by the real command line

Below them all stand errors, clock, log, notify, process, durable, single, shipped, signals, privilege and version,
which import the standard library only. Imports go upwards in this list, never down; tests/test_architecture.py holds
that.

Processes: ``serve`` supervises; ``core`` has the rights and the key; ``door`` speaks SSH and ``web`` HTTP, and have
neither. They talk in frames over Unix sockets, and so do two nodes, through their doors. A sync, end to end:

    cli/sync.py -> core.sock -> core/master.py: commit, tag -> door -> [SSH] -> door -> core/backup.py: fetch, verify
      -> apply/engine.py: plan, guards, checks, journal, write, read back, services, known-good -> steps back to cli
"""
