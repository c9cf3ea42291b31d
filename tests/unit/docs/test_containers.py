"""The container files against the settings they set and the schema they must meet.

No engine runs here; `docker compose config` and a build are for whoever has one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import pytest
from jsonschema import Draft7Validator
from ruamel.yaml import YAML

from ingest.config import PREFIX, Settings
from ingest.environ import load_settings
from tests.support.pages import ROOT, read_page

_ROLES = ("api", "worker", "sender", "beat", "migrate")
_LONG_RUNNING = ("api", "worker", "sender", "beat")
_SERVERS = ("postgres", "redis", "seaweedfs")
# Read by Compose itself and by the servers; the rest of .env are settings.
_COMPOSE_VARIABLES = {
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "API_PORT",
    "S3_PORT",
    "STOP_GRACE_PERIOD",
}
# What the containers decide and an operator of Compose has no use for.
_FIXED_BY_CONTAINERS = {
    "HEADRACE_DATABASE_URL",
    "HEADRACE_REDIS_URL",
    "HEADRACE_API_BIND",
    "HEADRACE_WORKER_METRICS_BIND",
    "HEADRACE_SENDER_METRICS_BIND",
    "HEADRACE_FFPROBE_PATH",
    "HEADRACE_FFMPEG_PATH",
    "PROMETHEUS_MULTIPROC_DIR",
}
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<rule>:?[-?])(?P<word>[^}]*))?\}")
_SECONDS = re.compile(r"(\d+)s")

# Compose's own language is YAML without types.
Compose = dict[str, Any]


def _interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _interpolate(inner, variables) for name, inner in value.items()}
    if isinstance(value, list):
        return [_interpolate(inner, variables) for inner in value]
    return (
        _VARIABLE.sub(lambda v: _choose(v, variables), value) if isinstance(value, str) else value
    )


def _choose(variable: re.Match[str], variables: Mapping[str, str]) -> str:
    name, rule, word = variable["name"], variable["rule"] or "", variable["word"]
    given = variables.get(name)
    if given is not None and (given != "" or not rule.startswith(":")):
        return given
    if rule.endswith("?"):
        raise KeyError(f"{name}: {word}")
    return word or ""


def _read_env_example() -> tuple[dict[str, str], dict[str, str]]:
    """Return what .env.example sets, and what it shows commented out."""
    given: dict[str, str] = {}
    shown: dict[str, str] = {}
    for line in read_page(".env.example").splitlines():
        found = re.fullmatch(r"(# )?([A-Z][A-Z0-9_]+)=(.*)", line)
        if found is not None:
            (shown if found[1] else given)[found[2]] = found[3]
    return given, shown


def _fill_env() -> dict[str, str]:
    given, _ = _read_env_example()
    return {name: f"filled{number}" for number, name in enumerate(given)}


def _load_compose(env: Mapping[str, str] | None = None) -> Compose:
    parsed = YAML(typ="safe").load(read_page("docker-compose.yml"))
    return cast("Compose", _interpolate(parsed, _fill_env() if env is None else env))


def _read_image_environ() -> dict[str, str]:
    joined = read_page("Dockerfile").replace("\\\n", " ")
    last_stage = joined[joined.rindex("\nFROM ") :]
    pairs = re.findall(r"^ENV (.+)$", last_stage, re.MULTILINE)
    return dict(pair.split("=", 1) for line in pairs for pair in line.split())


def _list_settings() -> dict[str, str]:
    """Return every setting by its variable, with its default as an operator would write it."""
    settings: dict[str, str] = {}
    for name, field in Settings.model_fields.items():
        variable = field.validation_alias if isinstance(field.validation_alias, str) else None
        default = field.default
        if isinstance(default, float):
            default = f"{default:g}"
        settings[variable or PREFIX + name.upper()] = str(default) if default else ""
    return settings


def _seconds(text: str) -> int:
    found = _SECONDS.fullmatch(text)
    assert found is not None
    return int(found[1])


def test_the_compose_file_meets_the_compose_schema() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = Draft7Validator(json.loads(schema.read_text()))

    assert [error.message for error in validator.iter_errors(_load_compose())] == []


@pytest.mark.parametrize("secret", sorted(_read_env_example()[0]))
def test_compose_refuses_to_start_without_a_secret(secret: str) -> None:
    with pytest.raises(KeyError, match=f"{secret}: set it in .env"):
        _load_compose({**_fill_env(), secret: ""})


@pytest.mark.parametrize("role", _ROLES)
def test_every_role_gets_settings_that_headrace_takes(role: str) -> None:
    env = _fill_env()
    service = _load_compose(env)["services"][role]
    environ = {**_read_image_environ(), **env, **service["environment"]}

    settings = load_settings(environ)

    assert settings.database_url.get_secret_value() == (
        f"postgresql://headrace:{env['POSTGRES_PASSWORD']}@postgres:5432/headrace"
    )
    assert settings.redis_url.get_secret_value() == f"redis://:{env['REDIS_PASSWORD']}@redis:6379/0"
    assert settings.s3_endpoint == "http://seaweedfs:8333"
    assert settings.s3_public_endpoint == "http://localhost:8333"
    assert settings.api_bind == "0.0.0.0:8000"
    assert (settings.worker_metrics_bind is not None) is (role == "worker")
    assert (settings.sender_metrics_bind is not None) is (role == "sender")
    assert (settings.metrics_dir is not None) is (role == "api")


def test_an_operator_may_turn_to_another_object_store() -> None:
    env = {**_fill_env(), "HEADRACE_S3_ENDPOINT": "", "HEADRACE_S3_PUBLIC_ENDPOINT": ""}
    service = _load_compose(env)["services"]["worker"]

    settings = load_settings({**_read_image_environ(), **env, **service["environment"]})

    assert settings.s3_endpoint is None
    assert settings.s3_public_endpoint is None


@pytest.mark.parametrize("name", ["docker-compose.yml", ".env.example", "Dockerfile"])
def test_every_variable_of_headrace_in_the_container_files_is_a_setting(name: str) -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+", read_page(name)))

    assert named <= set(_list_settings())
    assert named


def test_the_example_env_names_every_setting_that_the_containers_do_not_fix() -> None:
    given, shown = _read_env_example()
    named = set(given) | set(shown)

    assert named - _COMPOSE_VARIABLES == set(_list_settings()) - _FIXED_BY_CONTAINERS
    assert named >= _COMPOSE_VARIABLES


def test_the_example_env_shows_the_defaults_that_hold() -> None:
    _, shown = _read_env_example()
    source = read_page("docker-compose.yml")
    in_compose = {found["name"]: found["word"] for found in _VARIABLE.finditer(source)}
    defaults = {**_list_settings(), **in_compose}

    assert shown == {name: defaults[name] for name in shown}


def test_the_example_env_sets_no_secret_of_its_own() -> None:
    given, _ = _read_env_example()

    assert set(given.values()) == {""}


@pytest.mark.parametrize("role", ["worker", "sender"])
def test_what_takes_messages_can_be_scaled(role: str) -> None:
    worker = _load_compose()["services"][role]

    assert not {"container_name", "ports", "hostname"} & set(worker)


@pytest.mark.parametrize("role", _ROLES)
def test_a_role_runs_with_no_more_rights_than_it_needs(role: str) -> None:
    service = _load_compose()["services"][role]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]  # noqa: S108
    assert service["init"] is True
    assert "volumes" not in service
    assert service["command"] == [role]


@pytest.mark.parametrize("role", _LONG_RUNNING)
def test_a_role_starts_after_the_migration_and_the_servers(role: str) -> None:
    needs = _load_compose()["services"][role]["depends_on"]

    assert needs["migrate"] == {"condition": "service_completed_successfully"}
    assert needs["redis"] == needs["seaweedfs"] == {"condition": "service_healthy"}


def test_the_migration_runs_once_when_the_database_is_there() -> None:
    migrate = _load_compose()["services"]["migrate"]

    assert migrate["restart"] == "no"
    assert migrate["depends_on"] == {"postgres": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", [*_LONG_RUNNING, *_SERVERS])
def test_every_service_that_stays_has_a_health_check_and_restarts(name: str) -> None:
    service = _load_compose()["services"][name]

    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@pytest.mark.parametrize("role", _LONG_RUNNING)
def test_the_health_check_of_a_role_is_python_that_compiles(role: str) -> None:
    kind, python, flag, code = _load_compose()["services"][role]["healthcheck"]["test"]

    assert (kind, python, flag) == ("CMD", "python", "-c")
    compile(code, role, "exec")


def test_the_beat_is_judged_by_the_loops_it_goes_round_in() -> None:
    code = _load_compose()["services"]["beat"]["healthcheck"]["test"][3]
    assert "list_beats" in code
    assert "BEAT_LOOPS" in code


@pytest.mark.parametrize("role", _LONG_RUNNING)
def test_a_role_may_finish_its_work_before_it_is_killed(role: str) -> None:
    service = _load_compose()["services"][role]
    grace_s = Settings.model_fields["shutdown_grace_s"].default

    assert _seconds(service["stop_grace_period"]) > grace_s


@pytest.mark.parametrize("name", _SERVERS)
def test_a_server_keeps_its_data_in_a_named_volume(name: str) -> None:
    compose = _load_compose()
    volume = compose["services"][name]["volumes"][0].partition(":")[0]

    assert volume in compose["volumes"]


def test_only_the_api_and_the_object_store_are_published_and_on_the_loopback() -> None:
    services = _load_compose()["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}

    assert published == {"api": ["127.0.0.1:8000:8000"], "seaweedfs": ["127.0.0.1:8333:8333"]}


def test_redis_evicts_nothing_and_the_store_tells_nobody() -> None:
    services = _load_compose()["services"]
    redis, weed = services["redis"]["command"], services["seaweedfs"]["command"]

    assert redis[redis.index("--maxmemory-policy") + 1] == "noeviction"
    assert redis[redis.index("--appendonly") + 1] == "yes"
    assert "-master.telemetry=false" in weed


def test_images_are_pinned_by_a_version() -> None:
    services = _load_compose()["services"]
    tags = [service["image"].partition(":")[2] for service in services.values()]
    bases = re.findall(r"^FROM (\S+)", read_page("Dockerfile"), re.MULTILINE)

    assert set(bases) == {"python:3.13-slim"}
    assert all(re.match(r"\d", tag) for tag in tags)


def test_the_image_runs_as_an_ordinary_user_and_installs_by_hash_alone() -> None:
    lines = read_page("Dockerfile").replace("\\\n", " ").splitlines()
    installs = [line for line in lines if " install " in line or "uv build" in line]

    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    for line in installs:
        commands = [part for part in line.split("&&") if " install " in part or "uv build" in part]
        assert all("--require-hashes" in part or "--no-deps" in part for part in commands)


def test_the_build_sees_what_the_wheel_is_made_of_and_nothing_more() -> None:
    shown = {
        line.removeprefix("!")
        for line in read_page(".dockerignore").splitlines()
        if line.startswith("!")
    }
    copied = {
        word
        for line in read_page("Dockerfile").splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }

    assert {name for name in copied if not name.startswith("requirements/")} == shown - {
        "requirements/*.lock"
    }
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize(
    ("role", "variable"),
    [("api", "counters"), ("worker", None)],
    ids=["the api gets an emptied one", "a worker gets none"],
)
def test_the_entrypoint_prepares_the_directory_of_shared_counters(
    role: str, variable: str | None, tmp_path: Path
) -> None:
    counters = tmp_path / "counters"
    counters.mkdir()
    (counters / "counter_7.db").write_bytes(b"of an earlier run")
    (counters / "kept.txt").write_bytes(b"of somebody else")
    fake = tmp_path / "headrace"
    fake.write_text('#!/bin/sh\necho "$@" "${PROMETHEUS_MULTIPROC_DIR:-none}"\n')
    fake.chmod(0o755)
    environ = {"PATH": f"{tmp_path}{os.pathsep}{os.defpath}"}
    if variable is not None:
        environ["PROMETHEUS_MULTIPROC_DIR"] = str(counters)

    ran = subprocess.run(
        [ROOT / "docker-entrypoint.sh", role],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout == f"{role} {counters if variable is not None else 'none'}\n"
    emptied = role == "api"
    assert (counters / "counter_7.db").exists() is not emptied
    assert (counters / "kept.txt").exists()
