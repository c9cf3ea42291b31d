"""Settings: every mistake is named by its variable, and no secret is ever shown."""

from __future__ import annotations

import base64
import os
import re
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest.config import (
    MAX_OBJECT_BYTES,
    MAX_PARTS,
    MIB,
    MIN_PART_BYTES,
    PREFIX,
    LogFormat,
    Settings,
)
from ingest.connections import Addressing
from ingest.environ import (
    forget_environ,
    load_settings,
    make_child_environ,
    read_client_variable,
    read_operator_environ,
)
from ingest.errors import ConfigError

NEEDED = {
    "HEADRACE_DATABASE_URL": "postgresql://headrace:hunter2@db/headrace",
    "HEADRACE_REDIS_URL": "redis://:hunter3@redis:6379/0",
    "HEADRACE_S3_BUCKET": "media",
}
SECRETS = {
    **NEEDED,
    "HEADRACE_S3_ACCESS_KEY_ID": "AKIAhunter4",
    "HEADRACE_S3_SECRET_ACCESS_KEY": "hunter5",
}


def load(**more: str) -> Settings:
    return load_settings({**NEEDED, **{PREFIX + name.upper(): v for name, v in more.items()}})


def refuse(**more: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**more)
    return caught.value.message


def test_three_settings_are_enough() -> None:
    settings = load_settings(NEEDED)
    assert settings.s3_bucket == "media"
    assert settings.database_url.get_secret_value() == NEEDED["HEADRACE_DATABASE_URL"]
    assert settings.max_attempts == 5
    assert settings.dangerous_allow_addresses == frozenset()


@pytest.mark.parametrize("variable", NEEDED)
def test_a_missing_setting_is_named_with_what_it_takes(variable: str) -> None:
    rest = {name: value for name, value in NEEDED.items() if name != variable}
    field = Settings.model_fields[variable.removeprefix(PREFIX).lower()]
    for given_variables in (rest, {**rest, variable: ""}):
        with pytest.raises(ConfigError) as caught:
            load_settings(given_variables)
        assert caught.value.message == f"{variable} is not set. It takes: {field.description}"


def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({})
    for variable in NEEDED:
        assert variable in caught.value.message


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - {"metrics_dir"}))
def test_an_empty_variable_is_as_good_as_none(name: str) -> None:
    variable = PREFIX + name.upper()
    if variable in NEEDED:
        with pytest.raises(ConfigError, match=f"{variable} is not set"):
            load(**{name: ""})
    else:
        assert load(**{name: ""}) == load_settings(NEEDED)


def test_the_process_environment_is_left_alone_when_another_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADRACE_MAX_ATTEMPTS", "77")
    monkeypatch.setenv("HEADRACE_TYPING_ERROR", "1")
    assert load_settings(NEEDED).max_attempts == 5


def test_the_process_environment_is_read_when_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clear_own_variables(monkeypatch)
    for variable, value in NEEDED.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("HEADRACE_MAX_ATTEMPTS", "77")
    assert load_settings().max_attempts == 77


def clear_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(variable)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("HEADRACE_DATABSE_URL", "HEADRACE_DATABASE_URL"),
        ("HEADRACE_DATABASE", "HEADRACE_DATABASE_URL"),
        ("HEADRACE_WORKER_SLOT", "HEADRACE_WORKER_SLOTS"),
        ("HEADRACE_MAX_ATTEMPT", "HEADRACE_MAX_ATTEMPTS"),
        ("HEADRACE_ALLOW_ADDRESSES", "HEADRACE_DANGEROUS_ALLOW_ADDRESSES"),
        ("HEADRACE_S3_ACCESS_KEY", "HEADRACE_S3_ACCESS_KEY_ID"),
        ("HEADRACE_KEYS", "HEADRACE_KEY"),
        ("HEADRACE_METRICS_DIR", "PROMETHEUS_MULTIPROC_DIR"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_one_that_was_meant(
    variable: str, meant: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({**NEEDED, variable: "hunter6"})
    assert caught.value.message.startswith(f"{variable} is no setting of Headrace.")
    assert f"Did you mean {meant}?" in caught.value.message
    assert "hunter6" not in caught.value.message


@pytest.mark.parametrize("variable", ["HEADRACE_", "HEADRACE_QQ", "HEADRACE___"])
def test_an_unknown_variable_that_is_near_nothing_gets_no_guess(variable: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({**NEEDED, variable: "1"})
    assert "Did you mean" not in caught.value.message


def test_an_unknown_variable_is_refused_even_when_it_is_empty() -> None:
    with pytest.raises(ConfigError, match="HEADRACE_TYPING_ERROR"):
        load(typing_error="")


def test_the_variables_of_the_client_are_no_settings_and_no_mistakes() -> None:
    assert load(url="http://x", key="y", home="/z") == load_settings(NEEDED)


def test_variables_of_others_are_none_of_our_business() -> None:
    assert load_settings({**NEEDED, "PATH": "/bin", "headrace_x": "1"}) == load_settings(NEEDED)


SECRET_KEY = base64.urlsafe_b64encode(b"\xfb" * 32).decode()
BAD = {
    "webhook_slots": ["0", "257"],
    "webhook_endpoint_limit": ["0", "257"],
    "webhook_delays_s": ["0;5", "-1", "0,,5", "0," * 20 + "0", "604801", "nan", "inf", "1e9",
                         "soon"],
    "webhook_timeout_s": ["0", "301", "nan"],
    "webhook_connect_timeout_s": ["0", "inf"],
    "webhook_allow_http": ["perhaps", "2"],
    "placeholders": ["perhaps", "2"],
    "sender_metrics_bind": ["9000", ":9000"],
    "events_keep_days": ["0", "3651", "1.5"],
    "batch_max_rows": ["0", "10000001", "1.5"],
    "batch_max_bytes": ["1023", "4294967297", "1 MiB"],
    "check_max_rows": ["0", "1000001", "1.5"],
    "check_connections": ["0", "257", "x"],
    "check_timeout_s": ["0", "-1", "inf"],
    "s3_bucket": ["ab", "a" * 64],
    "secret_keys": ["hunter7", "a" * 44, SECRET_KEY[:-1], f"{SECRET_KEY},", f"{SECRET_KEY} hunter7",
                    f"{SECRET_KEY};{SECRET_KEY}", base64.b64encode(bytes(31)).decode()],
    "database_url": ["mysql://hunter7@db/x", "hunter7", "sqlite:///x.db", "http://db"],
    "redis_url": ["memcached://hunter7", "hunter7", "http://redis", "6379"],
    "s3_endpoint": ["seaweedfs:8333", "ftp://s3", "https://", "http:///x", "http://a b"],
    "s3_public_endpoint": ["//s3", "http://hunter7:pw@s3"],
    "s3_addressing": ["host", "PATH"],
    "api_url": ["localhost:8000", "https://api.example/?a=b", "https://api.example/#a"],
    "delivery_url": ["/delivery", "javascript:alert(1)"],
    "api_bind": ["8000", "localhost:8000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
                 "127.0.0.1:-1", "127.0.0.1:8_0", "127.0.0.1:+80", "127.0.0.1: 80", "*:80"],
    "worker_metrics_bind": ["9000", ":9000"],
    "api_processes": ["0", "65", "two", "1.5"],
    "api_threads": ["1", "257"],
    "rate_limit": ["0/minute", "10", "10/week", "10/minutes", "ten/minute", "10/minute;1/day",
                   "-1/day", "10/minute\n"],
    "sync_timeout_s": ["0", "-1", "601", "nan", "inf", "a minute"],
    "presign_ttl_s": ["9", "604801"],
    "worker_slots": ["0", "257"],
    "dispatch_window": ["0", "1001"],
    "host_limit": ["-1"],
    "retry_base_s": ["0"],
    "retry_cap_s": ["0"],
    "storage_patience_s": ["-1"],
    "resume_keep_s": ["-1"],
    "resend_after_s": ["0", "inf", "nan"],
    "lease_s": ["0.5", "inf"],
    "heartbeat_s": ["0", "nan", "-inf"],
    "shutdown_grace_s": ["-1", "inf"],
    "max_attempts": ["0", "101", "9" * 5000],
    "part_bytes": [str(MIN_PART_BYTES - 1), str(512 * MIB + 1), "8MiB"],
    "parts_in_flight": ["0", "33"],
    "source_connections": ["0", "65"],
    "s3_checksum": ["none", "sha256"],
    "s3_sources": [
        "hunter7", "[]", '{"archive": "hunter7"}', '{"archive": {"x": "hunter7"}}',
        '{"archive": {"secret_access_key": "hunter7"}}', '{"archive": {}, "archive": {}}',
        '{"media": {}}', '{"own": {"bucket": "media", "region": "eu-west-1"}}',
    ],
    "max_bytes": ["0", str(MAX_OBJECT_BYTES + 1)],
    "connect_timeout_s": ["0", "inf", "nan"],
    "first_byte_timeout_s": ["0", "inf"],
    "total_timeout_s": ["0", "inf"],
    "lowest_bps": ["-1"],
    "lowest_window_s": ["0", "inf"],
    "max_redirects": ["-1", "21"],
    "dangerous_allow_addresses": [
        "localhost:80", "10.0.0.0/8:80", "10.0.0.1", "*:80", "10.0.0.*:80", "10.0.0.1:*",
        "10.0.0.1:80-90", "10.0.0.1:99999", "127.0.0.1:80,metadata:80", "0x7f.1:80", "127.1:80",
    ],
    "dangerous_allow_networks": [
        "10.0.0.1", "10.0.0.1/8", "10.0.0.0/33", "fd00::/129", "10.0.0.0/8:80", "localhost/8", "*",
        "10.0.0.0/8,x",
    ],
    "source_ports": [",", "0", "65536", "80-", "-80", "90-80", "80:90", "http", "80,x", "+80"],
    "probe_timeout_s": ["0", "inf"],
    "probe_memory_bytes": [str(64 * MIB - 1)],
    "probe_max_pixels": ["0"],
    "log_level": ["INFO", "trace", "info\n"],
    "log_format": ["xml"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [pytest.param(name, v, id=f"{name}={v[:24]!r}") for name, vs in BAD.items() for v in vs],
)
def test_a_bad_value_is_refused_under_its_variable(name: str, value: str) -> None:
    message = refuse(**{name: value})
    assert message.startswith(f"{PREFIX}{name.upper()} ")
    assert len(message) < 200
    assert "hunter" not in message
    assert "pydantic" not in message


def test_two_bad_values_are_both_named() -> None:
    message = refuse(worker_slots="0", max_attempts="0")
    assert "HEADRACE_WORKER_SLOTS" in message
    assert "HEADRACE_MAX_ATTEMPTS" in message


def test_every_setting_that_can_be_wrong_is_in_the_table_of_wrong_ones() -> None:
    # Any text is a region, a secret or a path.
    free = {
        "s3_region",
        "s3_access_key_id",
        "s3_secret_access_key",
        "source_ca_file",
        "ffprobe_path",
        "ffmpeg_path",
        "metrics_dir",
    }
    assert set(BAD) | free == set(Settings.model_fields)


@pytest.mark.parametrize("name", ["s3_access_key_id", "s3_secret_access_key"])
def test_half_a_pair_of_s3_keys_is_refused_and_not_shown(name: str) -> None:
    message = refuse(**{name: "hunter8"})
    assert "HEADRACE_S3_ACCESS_KEY_ID" in message
    assert "HEADRACE_S3_SECRET_ACCESS_KEY" in message
    assert "hunter8" not in message


def test_a_lease_outlives_three_heartbeats() -> None:
    assert load(lease_s="6", heartbeat_s="2").lease_s == 6
    message = refuse(lease_s="6", heartbeat_s="2.1")
    assert "HEADRACE_LEASE_S" in message
    assert "HEADRACE_HEARTBEAT_S" in message


def test_the_folder_of_the_counters_keeps_the_name_that_prometheus_client_reads() -> None:
    assert load_settings({**NEEDED, "PROMETHEUS_MULTIPROC_DIR": "/m"}).metrics_dir == Path("/m")
    assert load_settings({**NEEDED, "PROMETHEUS_MULTIPROC_DIR": ""}).metrics_dir is None


def test_a_secret_is_in_no_repr_and_no_text_and_no_dump() -> None:
    settings = load_settings(SECRETS)
    for shown in (
        repr(settings),
        str(settings),
        f"{settings}",
        str(settings.model_dump()),
        settings.model_dump_json(),
        repr(settings.database_url),
    ):
        assert "hunter" not in shown
    assert settings.s3_secret_access_key is not None
    assert settings.s3_secret_access_key.get_secret_value() == "hunter5"


def test_a_secret_is_in_no_error_and_no_traceback() -> None:
    for bad in ({"HEADRACE_WORKER_SLOTS": "0"}, {"HEADRACE_S3_BUCKET": ""}, {"HEADRACE_X": "y"}):
        with pytest.raises(ConfigError) as caught:
            load_settings({**SECRETS, **bad})
        assert "hunter" not in "".join(traceback.format_exception(caught.value))


def test_settings_are_frozen() -> None:
    settings = load_settings(NEEDED)
    with pytest.raises(ValidationError):
        settings.max_attempts = 6


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_the_driver_is_named_for_sqlalchemy_however_the_url_begins(scheme: str) -> None:
    settings = load(database_url=f"{scheme}://u:p@h/postgresql://x")
    assert settings.sqlalchemy_url == "postgresql+psycopg://u:p@h/postgresql://x"


@pytest.mark.parametrize("value", ["redis://h", "rediss://:pw@h:6380/1"])
def test_redis_is_taken_with_and_without_tls(value: str) -> None:
    assert load(redis_url=value).redis_url.get_secret_value() == value


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("https://cdn.example", "https://cdn.example"),
        ("https://cdn.example/", "https://cdn.example"),
        ("https://cdn.example/a/b//", "https://cdn.example/a/b"),
        ("http://127.0.0.1:8333", "http://127.0.0.1:8333"),
        ("http://[::1]:8333/", "http://[::1]:8333"),
    ],
)
def test_a_base_url_loses_the_slash_at_its_end(value: str, kept: str) -> None:
    for name in ("s3_endpoint", "s3_public_endpoint", "api_url", "delivery_url"):
        assert getattr(load(**{name: value}), name) == kept


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("127.0.0.1:8000", "127.0.0.1:8000"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:8000", "[::1]:8000"),
        ("[0:0::0:1]:8000", "[::1]:8000"),
        ("[::]:8000", "[::]:8000"),
    ],
)
def test_a_listening_address_is_an_address_and_a_port(value: str, kept: str) -> None:
    assert load(api_bind=value).api_bind == kept
    assert load(worker_metrics_bind=value).worker_metrics_bind == kept


def test_exceptions_are_a_list_of_exact_addresses_and_ports() -> None:
    settings = load(dangerous_allow_addresses=" 127.0.0.1:9000 ,[0::1]:81,, 10.1.2.3:80,")
    assert settings.dangerous_allow_addresses == {"127.0.0.1:9000", "[::1]:81", "10.1.2.3:80"}


@pytest.mark.parametrize(
    ("addressing", "endpoint", "in_path"),
    [
        ("auto", "", False),
        ("auto", "http://s3:8333", True),
        ("path", "", True),
        ("virtual", "http://s3:8333", False),
    ],
)
def test_the_bucket_stands_in_the_path_where_an_endpoint_is_given(
    addressing: str, endpoint: str, *, in_path: bool
) -> None:
    settings = load(s3_addressing=addressing, s3_endpoint=endpoint)
    assert settings.s3_addressing is Addressing(addressing)
    assert settings.s3_path_style is in_path


def test_log_formats_are_words() -> None:
    assert [load(log_format=word).log_format for word in ("auto", "json", "console")] == list(
        LogFormat
    )


@given(size=st.integers(0, MAX_OBJECT_BYTES), part_mib=st.integers(5, 512))
def test_no_size_needs_more_than_10_000_parts(size: int, part_mib: int) -> None:
    settings = load(max_bytes=str(MAX_OBJECT_BYTES), part_bytes=str(part_mib * MIB))
    part_bytes = settings.part_bytes_for(size)
    assert -(-size // part_bytes) <= MAX_PARTS
    assert part_bytes >= settings.part_bytes
    assert part_bytes == settings.part_bytes or part_bytes % MIB == 0
    # No larger than the size asks for: memory grows with it.
    assert part_bytes == settings.part_bytes or (part_bytes - MIB) * MAX_PARTS < size


@pytest.mark.parametrize(
    ("size", "part_mib"),
    [
        (0, 8),
        (8 * MIB * MAX_PARTS, 8),
        (8 * MIB * MAX_PARTS + 1, 9),
        (9 * MIB * MAX_PARTS, 9),
        (MAX_OBJECT_BYTES, 525),
    ],
)
def test_parts_grow_only_when_10_000_of_them_are_too_few(size: int, part_mib: int) -> None:
    settings = load(max_bytes=str(MAX_OBJECT_BYTES))
    assert settings.part_bytes_for(size) == part_mib * MIB


def test_an_unknown_size_gets_parts_for_the_longest_that_is_taken() -> None:
    settings = load(max_bytes=str(200 * 1024**3))
    assert settings.part_bytes_for(None) == settings.part_bytes_for(200 * 1024**3) == 21 * MIB
    assert settings.part_bytes_for(MAX_OBJECT_BYTES) == 21 * MIB


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is_in_one_line(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert re.fullmatch(r"[^\n|]{5,100}[^.\n|]", description)


def test_the_client_reads_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_URL", "http://x")
    monkeypatch.setenv("HEADRACE_KEY", "")
    assert read_client_variable("HEADRACE_URL") == "http://x"
    assert read_client_variable("HEADRACE_KEY") is None


def test_a_child_inherits_everything_but_our_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("LANG", "fi_FI.UTF-8")
    environ = make_child_environ({"HEADRACE_S3_BUCKET": "media"})
    assert environ["LANG"] == "fi_FI.UTF-8"
    assert [name for name in environ if name.startswith(PREFIX)] == ["HEADRACE_S3_BUCKET"]


def test_an_operator_hands_on_what_was_set_and_not_the_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clear_own_variables(monkeypatch)
    monkeypatch.setenv("HEADRACE_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("HEADRACE_LOG_LEVEL", "")
    monkeypatch.setenv("HEADRACE_KEY", "hunter9")
    assert read_operator_environ() == {"HEADRACE_MAX_ATTEMPTS": "7"}


def test_a_forgotten_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever is set here comes back when the test ends.
    for name, value in list(os.environ.items()):
        monkeypatch.setenv(name, value)
    forget_environ()
    emptied = dict(os.environ)
    monkeypatch.undo()
    assert emptied == {}
