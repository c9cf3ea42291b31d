"""An HTTP origin on raw sockets, so that tests meet the sources that real users meet.

HTTP libraries refuse to send a wrong Content-Length, to stop half-way or to drip; real servers do
all of that. Routes are data (:class:`Reply`), so a test says what the source does in one line.
"""

from tests.support.origin.bodies import Generated
from tests.support.origin.certificates import Certificates, TlsCase
from tests.support.origin.process import OriginProcess
from tests.support.origin.replies import Cut, Drip, Ending, Framing, Reply, Stall
from tests.support.origin.server import Origin, Request, Served

__all__ = [
    "Certificates",
    "Cut",
    "Drip",
    "Ending",
    "Framing",
    "Generated",
    "Origin",
    "OriginProcess",
    "Reply",
    "Request",
    "Served",
    "Stall",
    "TlsCase",
]
