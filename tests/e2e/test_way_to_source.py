"""The way to a source: redirects, names, ports and certificates, good and bad."""

from __future__ import annotations

import pytest

from storage.objects.s3 import S3ObjectStore
from tests.support.api import Api, read_object
from tests.support.leftovers import fail_cleanly, make_order
from tests.support.origin import Origin, TlsCase


def test_a_loop_of_redirects_ends_after_the_limit(
    api: Api, origin: Origin, store: S3ObjectStore, picture_url: str
) -> None:
    order = make_order(origin.redirect("/loop/a", "/loop/b"))
    origin.redirect("/loop/b", "a")

    task = fail_cleanly(api, store, order, "source_invalid", picture_url)

    assert "more than 5" in str(task["error"])
    asked = [request for request in origin.requests if request.path.startswith("/loop/")]
    assert len(asked) == 6


def _chain(origin: Origin, length: int, end: str) -> str:
    """Serve a chain of redirects, relative and absolute in turn; return its start."""
    following = end
    for number in range(length):
        path = f"/chain-{length}/{number}"
        status = (301, 302, 303, 307, 308)[number % 5]
        following = origin.redirect(path, following, status)
        if number % 2:
            following = following.removeprefix(f"http://127.0.0.1:{origin.port}")
    return origin.url(f"/chain-{length}/{length - 1}")


def test_a_chain_of_redirects_is_followed_up_to_the_limit(
    api: Api, origin: Origin, store: S3ObjectStore, picture_url: str
) -> None:
    file = read_object(api.post("/files", {"url": _chain(origin, 5, picture_url)}), 201)
    assert file["type"] == "image/jpeg"
    order = make_order(_chain(origin, 6, picture_url))
    fail_cleanly(api, store, order, "source_invalid", picture_url)


@pytest.mark.parametrize(
    "location",
    ["/relative/b.jpg", "b.jpg", "./b.jpg", "x/../b.jpg", "//127.0.0.1:{port}/relative/b.jpg"],
)
def test_a_redirect_in_every_form_is_followed(
    location: str, api: Api, origin: Origin, picture: bytes
) -> None:
    origin.serve("/relative/b.jpg", picture)
    target = location.format(port=origin.port)
    url = origin.redirect("/relative/a.jpg", target)
    read_object(api.post("/files", {"url": url}), 201)


@pytest.mark.parametrize("case", [case for case in TlsCase if case is not TlsCase.TRUSTED])
def test_a_certificate_that_is_not_right_is_refused(
    case: TlsCase,
    api: Api,
    tls_origins: dict[TlsCase, Origin],
    store: S3ObjectStore,
    picture: bytes,
    picture_url: str,
) -> None:
    wrong = tls_origins[case]
    order = make_order(wrong.serve("/a.jpg", picture))
    fail_cleanly(api, store, order, "source_tls", picture_url)
    assert wrong.requests == []


def test_a_certificate_that_is_right_is_taken(
    api: Api, tls_origins: dict[TlsCase, Origin], picture: bytes
) -> None:
    url = tls_origins[TlsCase.TRUSTED].serve("/a.jpg", picture)
    assert read_object(api.post("/files", {"url": url}), 201)["source"] == url


def test_a_redirect_to_a_wrong_certificate_is_refused(
    api: Api,
    origin: Origin,
    tls_origins: dict[TlsCase, Origin],
    store: S3ObjectStore,
    picture_url: str,
) -> None:
    url = origin.redirect("/tls", tls_origins[TlsCase.EXPIRED].url("/a.jpg"))
    fail_cleanly(api, store, make_order(url), "source_tls", picture_url)


def test_plain_http_where_tls_is_spoken_is_unavailable(
    api: Api,
    tls_origins: dict[TlsCase, Origin],
    store: S3ObjectStore,
    picture_url: str,
) -> None:
    url = tls_origins[TlsCase.TRUSTED].url("/a.jpg").replace("https:", "http:")
    fail_cleanly(api, store, make_order(url), "source_unavailable", picture_url)


def test_a_host_that_does_not_resolve_is_named(
    api: Api, store: S3ObjectStore, picture_url: str
) -> None:
    order = make_order("http://nowhere.invalid/a.mp4?signature=s3cr3t")
    task = fail_cleanly(api, store, order, "source_dns", picture_url)
    assert "nowhere.invalid" in str(task["error"])
    assert "s3cr3t" not in str(task["error"])


def test_a_port_that_nobody_listens_on_is_unavailable(
    api: Api, store: S3ObjectStore, closed_port: int, picture_url: str
) -> None:
    order = make_order(f"http://127.0.0.1:{closed_port}/a.mp4")
    fail_cleanly(api, store, order, "source_unavailable", picture_url)
