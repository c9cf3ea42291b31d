"""Unit tests of workers/: no sockets."""
