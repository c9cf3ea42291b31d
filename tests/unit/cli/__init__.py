"""The command line, without the servers it starts."""
