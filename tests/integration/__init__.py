"""Rooms on the real servers they stand on, without the rest of the service."""
