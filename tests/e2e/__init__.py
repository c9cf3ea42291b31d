"""The whole service as its users meet it: real processes, real servers, real media."""
