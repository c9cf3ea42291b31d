"""How an IPv4 address can be written in a URL so that somebody takes it for something else."""

from __future__ import annotations

from ipaddress import IPv4Address
from urllib.parse import quote

_FULL_WIDTH = {ord("0") + digit: 0xFF10 + digit for digit in range(10)}
_CIRCLED = {ord("1") + digit: 0x2460 + digit for digit in range(9)} | {ord("0"): 0x24EA}
_DOTS = "\u3002\uff0e\uff61"


def spell(address: IPv4Address) -> list[str]:
    """Return what may stand for the host of a URL that leads to an address, port not included."""
    whole, plain = int(address), str(address)
    a, b, c, d = address.packed
    high, low = whole >> 16, whole & 0xFFFF
    numbers = [
        plain,
        f"{a}.{b}.{low}",
        f"{a}.{whole & 0xFFFFFF}",
        str(whole),
        f"0x{whole:x}",
        f"0X{whole:08X}",
        f"0{whole:o}",
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"000{a:o}.0x00{b:x}.{c}.0{d:o}",
    ]
    embedded = [
        f"[::ffff:{plain}]",
        f"[::FFFF:{high:x}:{low:x}]",
        f"[0:0:0:0:0:ffff:{plain}]",
        f"[::{plain}]",
        f"[::ffff:0:{plain}]",
        f"[64:ff9b::{plain}]",
        f"[64:ff9b:1::{plain}]",
        f"[2002:{high:x}:{low:x}::1]",
        f"[2001:0:{high:x}:{low:x}::1]",
        f"[2001:0:808:808:0:0:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}]",
        f"[::ffff:{plain}%25lo]",
        f"[::ffff:{plain}%lo]",
        f"[{plain}]",
    ]
    unicode = [
        plain.translate(_FULL_WIDTH),
        plain.translate(_CIRCLED),
        *(plain.replace(".", dot) for dot in _DOTS),
        plain.replace(".", "\u00b7"),
        plain.replace(".", ".\u00ad"),
        plain.replace(".", "\u200b."),
    ]
    written = [
        quote(plain, safe="").replace(".", "%2e"),
        "".join(f"%{byte:02x}" for byte in plain.encode()),
        f"somebody@{plain}",
        f"somebody:8.8.8.8@{plain}",
        f"8.8.8.8\\@{plain}",
        f"{plain}\\@8.8.8.8",
        f"8.8.8.8 @{plain}",
        f"{plain}\t",
        f"\t{plain}",
        f"{plain}\r\nHost: 8.8.8.8\r\n",
        f"{plain}\0.example",
    ]
    dotted = [f"{number}." for number in numbers]
    return [*numbers, *dotted, *embedded, *unicode, *written]
