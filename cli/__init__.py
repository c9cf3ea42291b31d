"""The command line: the local stack, and a client of the API."""
