"""core's half of failover: what the process carp is told, what it reports, and what people order."""
