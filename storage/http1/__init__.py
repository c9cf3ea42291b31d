"""HTTP/1.1 as Headrace speaks it to sources and to the store: strict, lean, straight into memory.

Moving bytes is what Headrace is for. The usual clients spend more on one request than a small file
costs, copy bodies on their way, mend what should be refused (a chunk's length that was cut off, an
unknown coding) and rewrite addresses that a signature covers. What is here does one thing: a
request whose body lies in memory, an answer that is read into memory (RFC 9112). It opens no
socket; whoever does decides where to, and what an error means.
"""
