"""Core's half of SSH: who may come in, what may be signed, how peers are asked, Git for people with keys."""
