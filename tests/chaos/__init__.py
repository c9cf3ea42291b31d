"""What happens when everything breaks: rows R1 to R11, each a promise and its figures."""
