"""The language of all rooms, module by module."""
