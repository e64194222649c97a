"""The process ``statesync``: it keeps conntrackd, which carries open connections to the other node.

    conf       conntrackd's configuration out of our settings; pure
    stats      what conntrackd counts, out of its texts; pure
    decide     who is MASTER, what conntrackd says and what time it is -> what conntrackd is told; pure
    says       what the keeper says about itself; pure
    state      the file that it says it in
    kernel     devices, addresses, ports and settings of this node
    daemon     conntrackd as a child
    keeper     the loop that joins them; __main__ is its process

Measured with Debian 12's conntrackd 1.4.7 on Linux 6.18, two cores, a client and a server with SNAT between them, 500
idle connections, one busy transfer, nf_conntrack_tcp_loose and _be_liberal 0:

    takeover, fail-back, reboot of the old MASTER, fail-back: all 500 and the transfer live, no reset in 3 of 3 runs
    stall of the transfer 0.24 s (a retransmission time-out) at a takeover, 0.02 s at a planned fail-back
    orders at a takeover: -c 6 ms, -f 5 ms, -R 20 to 40 ms, -B 6 to 20 ms; with 50 000 entries -R 230 ms, -B 60 ms
    50 000 entries into an empty kernel: 1.3 s, of which 0.6 s wait for lost messages to be sent again
    entries that were put here by the peer travel back after these orders; without them none did, and all 51 connections
    broke at the fail-back after the reboot
"""
