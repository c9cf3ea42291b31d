"""Unit tests of storage/: no sockets."""
