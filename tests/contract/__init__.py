"""What every implementation of a protocol must hold, checked on each of them."""
