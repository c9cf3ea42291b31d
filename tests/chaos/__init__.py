"""What happens when everything breaks: rows R1 to R12, each a promise and its figures."""
