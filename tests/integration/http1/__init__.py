"""HTTP/1.1 over connections of the kernel's."""
