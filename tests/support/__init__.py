"""What tests stand on: an origin that misbehaves on demand, and real media."""
