"""Share links become the file behind them; everything beside them stays as it was written."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.share_links import find_direct_url
from ingest.urls import parse_source_url

FILE_ID = "1QXW7FDjlb3uLskUkZxaYJu55UQI7ShL0"
KEY = "0-WWs_XOSctfaY_0-sJBKRSQ"
DRIVE = f"https://drive.usercontent.google.com/download?id={FILE_ID}&export=download&confirm=t"
FI = "https://www.dropbox.com/scl/fi/4k9/holiday.mp4"
LIVE = "resid=25EBB683889A2B9%211396&authkey=%21AJxFQ8726d8On94"
POINT = "https://tenant-my.sharepoint.com/:v:/g/personal/a_b_example/Ebc-OUDfU"


def shared(link: str) -> str:
    """Return where OneDrive's API serves a link."""
    token = base64.urlsafe_b64encode(link.encode()).decode().rstrip("=")
    return f"https://api.onedrive.com/v1.0/shares/u!{token}/root/content"


DROPBOX = {
    "https://www.dropbox.com/s/m5ay6j4/a.mp4?dl=0": "https://www.dropbox.com/s/m5ay6j4/a.mp4?dl=1",
    "https://www.dropbox.com/s/m5ay6j4/a.mp4": "https://www.dropbox.com/s/m5ay6j4/a.mp4?dl=1",
    "https://www.dropbox.com/s/m5ay6j4": "https://www.dropbox.com/s/m5ay6j4?dl=1",
    "https://www.dropbox.com/s/m5ay6j4/a.mp4?": "https://www.dropbox.com/s/m5ay6j4/a.mp4?dl=1",
    "https://www.dropbox.com/s/m5ay6j4/a%20b.mp4?dl=0": (
        "https://www.dropbox.com/s/m5ay6j4/a%20b.mp4?dl=1"
    ),
    f"{FI}?rlkey=a1b2&dl=0": f"{FI}?rlkey=a1b2&dl=1",
    f"{FI}?rlkey=a1b2": f"{FI}?rlkey=a1b2&dl=1",
    f"{FI}?dl=0&rlkey=a1%2fb2&e=1&st=x": f"{FI}?rlkey=a1%2fb2&e=1&st=x&dl=1",
    f"{FI}?rlkey=a1b2&dl=0&dl=0": f"{FI}?rlkey=a1b2&dl=1",
    f"{FI}?rlkey=a1b2&raw=0": f"{FI}?rlkey=a1b2&raw=0&dl=1",
    "https://dropbox.com/s/m5ay6j4/a.mp4?dl=0": "https://dropbox.com/s/m5ay6j4/a.mp4?dl=1",
    "HTTPS://WWW.Dropbox.COM:443/s/m5ay6j4/a.mp4?dl=0": (
        "https://www.dropbox.com/s/m5ay6j4/a.mp4?dl=1"
    ),
}
GOOGLE = {
    f"https://drive.google.com/file/d/{FILE_ID}/view?usp=sharing": DRIVE,
    f"https://drive.google.com/file/d/{FILE_ID}/view": DRIVE,
    f"https://drive.google.com/file/d/{FILE_ID}/edit": DRIVE,
    f"https://drive.google.com/file/d/{FILE_ID}/preview": DRIVE,
    f"https://drive.google.com/file/d/{FILE_ID}/": DRIVE,
    f"https://drive.google.com/file/d/{FILE_ID}": DRIVE,
    f"https://drive.google.com/file/u/1/d/{FILE_ID}/view": DRIVE,
    f"https://drive.google.com/a/example.com/file/d/{FILE_ID}/view": DRIVE,
    f"https://drive.google.com/open?id={FILE_ID}": DRIVE,
    f"https://drive.google.com/uc?id={FILE_ID}": DRIVE,
    f"https://drive.google.com/uc?export=download&confirm=no_antivirus&id={FILE_ID}": DRIVE,
    f"https://drive.google.com/u/0/uc?id={FILE_ID}&export=download": DRIVE,
    f"https://docs.google.com/uc?export=download&id={FILE_ID}": DRIVE,
    f"https://drive.google.com/file/d/{FILE_ID}/view?usp=sharing&resourcekey={KEY}": (
        f"{DRIVE}&resourcekey={KEY}"
    ),
    f"https://drive.google.com/uc?id={FILE_ID}&resourcekey={KEY}": f"{DRIVE}&resourcekey={KEY}",
    f"https://drive.google.com/uc?id={FILE_ID}&resourcekey=a%26b": DRIVE,
    f"https://DRIVE.google.com/open?id={FILE_ID}": DRIVE,
}
MICROSOFT = {
    "https://1drv.ms/v/s!AglmNz5pzRt1mg6a7cq-Ghi-0h2D": shared(
        "https://1drv.ms/v/s!AglmNz5pzRt1mg6a7cq-Ghi-0h2D"
    ),
    "https://1drv.ms/u/s!AglmNz5pzRt1mg6a7cq?e=s3cr3t": shared(
        "https://1drv.ms/u/s!AglmNz5pzRt1mg6a7cq"
    ),
    "https://1drv.ms/i/c/db31c5aff0d22737/EUqSzNwSVdZAqXFz_2SM8Q4B?e=1": shared(
        "https://1drv.ms/i/c/db31c5aff0d22737/EUqSzNwSVdZAqXFz_2SM8Q4B"
    ),
    f"https://onedrive.live.com/?{LIVE}": f"https://onedrive.live.com/download?{LIVE}",
    f"https://onedrive.live.com/redir?{LIVE}&ithint=video%2cmp4": (
        f"https://onedrive.live.com/download?{LIVE}&ithint=video%2cmp4"
    ),
    f"https://onedrive.live.com/embed?cid=25E&{LIVE}": (
        f"https://onedrive.live.com/download?cid=25E&{LIVE}"
    ),
    "https://onedrive.live.com/redir?resid=1!2&authKey=!1": (
        "https://onedrive.live.com/download?resid=1!2&authKey=!1"
    ),
    f"{POINT}?e=0Dkz5J": f"{POINT}?e=0Dkz5J&download=1",
    POINT: f"{POINT}?download=1",
    f"{POINT}?download=0&e=0Dkz5J": f"{POINT}?e=0Dkz5J&download=1",
    "https://tenant.sharepoint.com/:u:/s/films/ERs6pDu": (
        "https://tenant.sharepoint.com/:u:/s/films/ERs6pDu?download=1"
    ),
}
FOUND = DROPBOX | GOOGLE | MICROSOFT

STAYING = [
    # No file, or already the file.
    "https://www.dropbox.com/sh/m5ay6j4/AAB?dl=0",
    "https://www.dropbox.com/scl/fo/m5ay6j4/h?rlkey=a1b2&dl=0",
    "https://www.dropbox.com/s/",
    "https://www.dropbox.com/s",
    "https://www.dropbox.com/S/m5ay6j4/a.mp4",
    "https://www.dropbox.com/s/m5ay6j4/a/b.mp4",
    "https://www.dropbox.com/t/m5ay6j4",
    "https://www.dropbox.com/home/s/a.mp4",
    f"{FI}?rlkey=a1b2&raw=1",
    "https://dl.dropboxusercontent.com/s/m5ay6j4/a.mp4",
    "https://drive.google.com/drive/folders/15uNXeRBIhVvZJIhL4yTw4IsStMhUaaxl",
    "https://drive.google.com/file/d//view",
    f"https://drive.google.com/file/d/{FILE_ID}/view/more",
    f"https://drive.google.com/file/d/{FILE_ID}%2F..%2Fx/view",
    f"https://drive.google.com/thumbnail?id={FILE_ID}",
    "https://drive.google.com/uc?export=download",
    "https://drive.google.com/uc?id=",
    "https://drive.google.com/uc?id=a&id=b",
    "https://drive.google.com/open?id=a%26b",
    f"https://docs.google.com/document/d/{FILE_ID}/edit",
    f"https://docs.google.com/spreadsheets/d/{FILE_ID}/edit",
    f"https://docs.google.com/presentation/d/{FILE_ID}/edit?usp=sharing&rtpof=true",
    f"{DRIVE}&resourcekey={KEY}",
    "https://1drv.ms/f/s!AglmNz5pzRt1mg6a7cq",
    "https://1drv.ms/f/c/2ff0428a2f57c7a4/EpBJVZO1?e=dTC5C1",
    "https://1drv.ms/v/",
    "https://1drv.ms/",
    f"https://onedrive.live.com/download?{LIVE}",
    "https://onedrive.live.com/?resid=1!2",
    "https://onedrive.live.com/?authkey=1",
    f"https://onedrive.live.com/redir?{LIVE}&ithint=folder%2cmp4",
    f"https://onedrive.live.com/about?{LIVE}",
    "https://tenant-my.sharepoint.com/:f:/g/personal/a_b_example/Ebc",
    "https://tenant.sharepoint.com/sites/films/a.mp4",
    "https://tenant.sharepoint.com/:v:/",
    "https://tenant.sharepoint.com/:vv:/g/a",
    # Not those hosts, or not as they are reached.
    "http://www.dropbox.com/s/m5ay6j4/a.mp4?dl=0",
    "https://www.dropbox.com:8443/s/m5ay6j4/a.mp4?dl=0",
    "https://www.dropbox.com./s/m5ay6j4/a.mp4?dl=0",
    "https://evil-dropbox.com/s/m5ay6j4/a.mp4?dl=0",
    "https://www.evil-dropbox.com/s/m5ay6j4/a.mp4?dl=0",
    "https://www.dropbox.com.example/s/m5ay6j4/a.mp4?dl=0",
    "https://evil.www.dropbox.com/s/m5ay6j4/a.mp4?dl=0",
    "https://www.dropb\u03bfx.com/s/m5ay6j4/a.mp4?dl=0",
    f"http://drive.google.com/file/d/{FILE_ID}/view",
    f"https://drive.google.com.example/file/d/{FILE_ID}/view",
    f"https://drive.google.example/file/d/{FILE_ID}/view",
    f"https://google.com/file/d/{FILE_ID}/view",
    "https://1drv.ms.example/v/s!Agl",
    "https://a1drv.ms/v/s!Agl",
    f"https://live.com/redir?{LIVE}",
    f"https://evil.onedrive.live.com/redir?{LIVE}",
    "https://sharepoint.com/:v:/g/a",
    "https://tenant.sharepoint.com.example/:v:/g/a",
    "https://tenantsharepoint.com/:v:/g/a",
    "https://a.tenant.sharepoint.com/:v:/g/a",
    "https://media.example/s/m5ay6j4/a.mp4?dl=0&u=https://www.dropbox.com/s/a/b",
]


@pytest.mark.parametrize(("link", "direct"), FOUND.items(), ids=FOUND)
def test_a_share_link_becomes_the_file_behind_it(link: str, direct: str) -> None:
    assert str(find_direct_url(parse_source_url(link))) == direct


@pytest.mark.parametrize("direct", FOUND.values(), ids=FOUND)
def test_what_is_direct_already_stays(direct: str) -> None:
    url = parse_source_url(direct)
    assert find_direct_url(url) == url


@pytest.mark.parametrize("link", STAYING, ids=ascii)
def test_what_is_no_link_to_a_file_goes_out_as_it_was_written(link: str) -> None:
    url = parse_source_url(link)
    assert find_direct_url(url) is url


def test_the_key_in_the_query_of_a_short_link_does_not_come_into_a_path() -> None:
    direct = find_direct_url(parse_source_url("https://1drv.ms/v/s!Agl?e=s3cr3t"))
    token = direct.redacted.split("/")[5].removeprefix("u!")
    assert base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)) == b"https://1drv.ms/v/s!Agl"


@given(
    host=st.sampled_from(
        ["www.dropbox.com", "drive.google.com", "1drv.ms", "onedrive.live.com", "t.sharepoint.com"]
    ),
    path=st.sampled_from(["/s/a", "/file/d/a/view", "/uc", "/v/a", "/redir", "/:v:/a", "/"]),
    query=st.text("abdehiklorsuwy01=&%2!", max_size=40),
)
def test_a_link_never_leads_to_a_host_that_is_not_its_own_services(
    host: str, path: str, query: str
) -> None:
    text = f"https://{host}{path}?{query.replace('%', '%25')}"
    url = parse_source_url(text)
    direct = find_direct_url(url)
    homes = {"drive.google.com": "drive.usercontent.google.com", "1drv.ms": "api.onedrive.com"}
    assert direct.host in {host, homes.get(host)}
    assert (direct.scheme, direct.port) == ("https", 443)
    assert parse_source_url(str(direct)) == direct
