"""What bad fields get: the field by name, what it takes, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ingest.ids import Prefix, make_id
from tests.e2e.refusals import refuse
from tests.support.api import Api, read_error, read_list, read_object

URL = "http://nowhere.invalid/a.mp4"
LONE = "\ud800"
STRING_FIELDS = ["url", "folder", "filename", "ref", "checksum"]


@pytest.fixture(scope="module")
def project(open_project: Callable[[], Api]) -> Iterator[Api]:
    """A project in which nothing may be left by anything that was refused."""
    api = open_project()
    yield api
    assert read_list(api.get("/tasks"))[1]["total"] == 0


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("url", None, "null"),
        ("url", 5, "5"),
        ("url", True, "true"),
        ("url", [URL], "an array"),
        ("url", {"href": URL}, "an object"),
        ("folder", 5, "5"),
        ("folder", ["a"], "an array"),
        ("folder", False, "false"),
        ("filename", 1.5, "1.5"),
        ("filename", {}, "an object"),
        ("ref", 17, "17"),
        ("ref", "", "at least 1"),
        ("ref", "x" * 256, "at most 255"),
        ("metadata", [], "an array"),
        ("metadata", "text", "'text'"),
        ("metadata", 5, "5"),
        ("metadata", {"a": "x" * 17_000}, "16384"),
        ("metadata", {"a": [[[[[[[[1]]]]]]]]}, "8 levels"),
        ("checksum", 5, "5"),
        ("checksum", "", "sha256"),
        ("checksum", "sha256:", "64"),
        ("checksum", "sha256:" + "0" * 63, "64"),
        ("checksum", "sha256:" + "g" * 64, "hexadecimal"),
        ("checksum", "sha1:" + "0" * 40, "sha256"),
        ("checksum", "0" * 64, "sha256"),
        ("checksum", "crc32c:" + "0" * 9, "8"),
        ("checksum", "md5:" + "\u0665" * 32, "hexadecimal"),
        ("max_bytes", 0, "0"),
        ("max_bytes", -1, "-1"),
        ("max_bytes", True, "true"),
        ("max_bytes", False, "false"),
        ("max_bytes", "5", "'5'"),
        ("max_bytes", 5.5, "5.5"),
        ("max_bytes", 5.0, "5.0"),
        ("max_bytes", 2**63, "5497558138880"),
        ("max_bytes", 10**300, "5497558138880"),
        ("max_bytes", [1], "an array"),
        ("if_exists", "replace", "'overwrite'"),
        ("if_exists", "OVERWRITE", "'overwrite'"),
        ("if_exists", True, "true"),
        ("if_exists", ["skip"], "an array"),
        ("dedupe", "sha256", "'content'"),
        ("dedupe", "", "'content'"),
        ("dedupe", True, "true"),
        ("dedupe", {"by": "url"}, "an object"),
    ],
)
def test_a_field_of_the_wrong_type_or_value_is_refused_by_name(
    field: str, value: object, said: str, project: Api
) -> None:
    assert said in refuse(project, {"url": URL, field: value}, field)


def test_a_missing_field_is_named(project: Api) -> None:
    assert refuse(project, {}, "url") == "'url' is missing."
    error = read_error(project.post("/tasks", {"url": URL}), 422, "field_invalid")
    assert (error["param"], error["message"]) == ("kind", "'kind' is missing.")


@pytest.mark.parametrize("value", ["transcode", "", "Ingest", "INGEST ", None, 5, True, ["ingest"]])
def test_a_kind_that_is_unknown_is_refused(value: object, project: Api) -> None:
    error = read_error(project.post("/tasks", {"url": URL, "kind": value}), 422, "field_invalid")
    assert error["param"] == "kind"
    assert "'ingest'" in str(error["message"])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("priority", -11, "-10"),
        ("priority", 11, "10"),
        ("priority", "high", "'high'"),
        ("priority", 0.5, "0.5"),
        ("priority", True, "true"),
        ("max_attempts", 0, "0"),
        ("max_attempts", -1, "-1"),
        ("max_attempts", 101, "100"),
        ("max_attempts", 10**300, "100"),
        ("max_attempts", "3", "'3'"),
        ("max_attempts", [3], "an array"),
    ],
)
def test_a_field_that_only_tasks_have_is_refused_by_name(
    field: str, value: object, said: str, project: Api
) -> None:
    body = {"url": URL, field: value}
    error = read_error(project.post("/tasks", {"kind": "ingest", **body}), 422, "field_invalid")
    assert error["param"] == field
    assert said in str(error["message"])
    error = read_error(project.post("/files", body), 422, "field_invalid")
    assert error["message"] == f"'{field}' is no field of this request."


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "url"),
        ({"url": None}, "url"),
        ({"url": ""}, "url"),
        ({"url": "ftp://nowhere.invalid/a.mp4"}, "url"),
        ({"url": "http://user:secret@nowhere.invalid/"}, "url"),
        ({"url": "http://nowhere.invalid/\x00"}, "url"),
        ({"url": URL, "priority": 1}, "priority"),
        ({"url": URL, "filename": "a.mp4"}, "filename"),
        ({"url": URL, "status": "cancelled"}, "status"),
    ],
    ids=ascii,
)
def test_a_change_that_is_not_taken_is_refused_by_name(
    body: dict[str, object], param: str, project: Api
) -> None:
    path = f"/tasks/{make_id(Prefix.TASK)}"
    assert read_error(project.patch(path, body), 422, "field_invalid")["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"folder": 5}, "folder"),
        ({"folder": "../other"}, "folder"),
        ({"folder": "a//b"}, "folder"),
        ({"folder": "a" * 1025}, "folder"),
        ({"filename": "a/b.mp4"}, "filename"),
        ({"filename": ".."}, "filename"),
        ({"filename": "a\x00.mp4"}, "filename"),
        ({"filename": LONE}, "filename"),
        ({"filename": "x" * 1025}, "filename"),
        ({"ref": ""}, "ref"),
        ({"metadata": []}, "metadata"),
        ({"url": URL}, "url"),
        ({"if_exists": "overwrite"}, "if_exists"),
        ({"object_key": "a"}, "object_key"),
    ],
    ids=ascii,
)
def test_a_change_of_a_file_that_is_not_taken_is_refused_by_name(
    body: dict[str, object], param: str, project: Api
) -> None:
    path = f"/files/{make_id(Prefix.FILE)}"
    assert read_error(project.patch(path, body), 422, "field_invalid")["param"] == param


@pytest.mark.parametrize(
    "name",
    ["colour", "URL", "url ", "", "__proto__", "id", "status", "a.b", "\u00fc", "project_id"],
)
def test_an_unknown_field_is_refused_by_its_name(name: str, project: Api) -> None:
    assert refuse(project, {"url": URL, name: 1}, name) == f"'{name}' is no field of this request."


def test_an_unknown_field_with_an_endless_or_broken_name_is_refused_in_few_words(
    project: Api,
) -> None:
    for name, status, code in (
        ("x" * 100_000, 422, "field_invalid"),
        ("a\x00b", 422, "field_invalid"),
        (LONE, 400, "body_invalid"),
    ):
        error = read_error(project.post("/files", {"url": URL, name: 1}), status, code)
        assert len(str(error["message"])) < 400
        str(error["message"]).encode()
        str(error["param"]).encode()


@pytest.mark.parametrize("field", STRING_FIELDS)
@pytest.mark.parametrize("bad", ["\x00", "a\x00b", LONE, f"a{LONE}b", "\udfff\ud800"])
def test_nul_and_half_a_surrogate_pair_are_refused_in_every_field(
    field: str, bad: str, project: Api
) -> None:
    value = f"{URL}?{bad}" if field == "url" else bad
    refuse(project, {"url": URL, field: value}, field)


@pytest.mark.parametrize(
    "metadata",
    [{"a": "\x00"}, {"\x00": 1}, {"a": [{"b": "x\x00"}]}, {LONE: 1}, {"a": LONE}, {"a": [LONE]}],
    ids=ascii,
)
def test_nul_and_half_a_surrogate_pair_are_refused_in_metadata(
    metadata: dict[str, object], project: Api
) -> None:
    refuse(project, {"url": URL, "metadata": metadata}, "metadata")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "no scheme"),
        ("a.mp4", "no scheme"),
        ("/a.mp4", "no scheme"),
        ("//nowhere.invalid/a.mp4", "no scheme"),
        ("nowhere.invalid/a.mp4", "no scheme"),
        ("ftp://nowhere.invalid/a.mp4", "'ftp'"),
        ("file:///etc/passwd", "'file'"),
        ("javascript:alert(1)", "'javascript'"),
        ("data:video/mp4;base64,AAAA", "'data'"),
        ("gopher://nowhere.invalid/", "'gopher'"),
        ("http:nowhere.invalid/a.mp4", "//"),
        ("http:/nowhere.invalid/a.mp4", "//"),
        ("http://", "host"),
        ("http:///a.mp4", "host"),
        ("http://user:secret@nowhere.invalid/", "user name or password"),
        ("http://nowhere.invalid@127.0.0.1/", "user name or password"),
        ("http://127.0.0.1\\@nowhere.invalid/", "'\\\\'"),
        ("http://nowhere.invalid/a b.mp4", "white space"),
        (" http://nowhere.invalid/", "white space"),
        ("http://nowhere.invalid/a\n.mp4", "white space"),
        ("http://nowhere.invalid/a\r\nHost: x", "white space"),
        ("http://nowhere.invalid/\u00a0", "white space"),
        ("http://nowhere.invalid/%", "'%'"),
        ("http://nowhere.invalid/%zz", "'%'"),
        ("http://nowhere.invalid:0/", "port"),
        ("http://nowhere.invalid:65536/", "port"),
        ("http://nowhere.invalid:80a/", "port"),
        ("http://%6eowhere.invalid/", "percent-encoded host"),
        ("http://[::1/", "host"),
        ("http://[fe80::1%25eth0]/", "IPv6"),
        ("http://-.invalid/", "host"),
        ("http://a..invalid/", "host"),
        ("http://" + "a" * 64 + ".invalid/", "host"),
        ("http://nowhere.invalid/" + "a" * 8192, "8192"),
        ("http://nowhere.invalid/" + "\u00fc" * 4000, "8192"),
        ("http://nowhere.invalid/" + "\U0001f3ac" * 1000, "8192"),
    ],
    ids=lambda value: ascii(value[:50]),
)
def test_a_url_that_is_not_taken_is_refused_with_the_reason(
    url: str, said: str, project: Api
) -> None:
    assert said in refuse(project, {"url": url}, "url")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("HTTP://NoWhere.INVALID:80/A.mp4", "http://nowhere.invalid/A.mp4"),
        ("https://nowhere.invalid:443", "https://nowhere.invalid/"),
        ("http://nowhere.invalid/a.mp4#t=10", "http://nowhere.invalid/a.mp4"),
        ("http://b\u00fccher.invalid/\u00fc.mp4", "http://xn--bcher-kva.invalid/%C3%BC.mp4"),
        ("http://\u4f8b\u3048.invalid/", "http://xn--r8jz45g.invalid/"),
        ("http://nowhere.invalid/%2e%2E/a%2fb", "http://nowhere.invalid/%2e%2E/a%2fb"),
        ("http://nowhere.invalid/a?x=%2f&y=[1]", "http://nowhere.invalid/a?x=%2f&y=[1]"),
        ("http://nowhere.invalid?x", "http://nowhere.invalid/?x"),
        ("http://a_b.invalid/", "http://a_b.invalid/"),
    ],
    ids=ascii,
)
def test_a_url_in_an_odd_form_is_taken_and_shown_as_it_will_be_asked_for(
    url: str, kept: str, api: Api
) -> None:
    task = read_object(api.post("/tasks", {"kind": "ingest", "url": url}), 201)
    assert task["input"] == {"url": kept, "folder": None, "filename": None}
