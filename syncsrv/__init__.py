"""syncsrv keeps a pair of Linux hosts that do the same job equal."""
