"""The environment: the settings read from it once, and what children are given of it.

The only module that touches ``os.environ``. An unknown ``HEADRACE_`` variable is refused by name,
so that a typing error cannot silently leave a default in force.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping

from pydantic import ValidationError

from ingest.config import PREFIX, Settings
from ingest.errors import ConfigError


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the settings.

    Args:
        environ: variables to read instead of the process's own.

    Raises:
        ConfigError: names each variable at fault and what it takes.
    """
    source = os.environ if environ is None else environ
    given = {name: value for name, value in source.items() if name.startswith(PREFIX)}
    values: dict[str, str] = {}
    for variable, value in given.items():
        if variable in _CLIENT_VARIABLES:
            continue
        field = variable.removeprefix(PREFIX).lower()
        if field not in Settings.model_fields or variable in _ALIASED:
            raise ConfigError(_explain_unknown(variable))
        if value != "":
            values[field] = value
    if source.get(METRICS_DIR_VARIABLE):
        values[METRICS_DIR_VARIABLE] = source[METRICS_DIR_VARIABLE]
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def read_client_variable(name: str) -> str | None:
    """Return ``HEADRACE_URL`` or ``HEADRACE_KEY`` as the CLI's client uses them, or None."""
    return os.environ.get(name) or None


def read_operator_environ() -> dict[str, str]:
    """Return the settings this process was given, unchecked, to be handed on to children."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PREFIX) and name not in _CLIENT_VARIABLES and value != ""
    }


def make_child_environ(values: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a child process: this one's without HEADRACE_, plus ``values``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**kept, **values}


def forget_environ() -> None:
    """Empty this process's environment, for a child that parses hostile input and needs none."""
    os.environ.clear()


METRICS_DIR_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_CLIENT_VARIABLES = frozenset({"HEADRACE_URL", "HEADRACE_KEY", "HEADRACE_HOME"})
_ALIASED = frozenset({"HEADRACE_METRICS_DIR"})


def _explain_unknown(variable: str) -> str:
    # Without the prefix, which alone would make any two of them look alike.
    known = {name.upper(): PREFIX + name.upper() for name in Settings.model_fields}
    known |= {name.removeprefix(PREFIX): name for name in _CLIENT_VARIABLES}
    known |= {alias.removeprefix(PREFIX): METRICS_DIR_VARIABLE for alias in _ALIASED}
    near = difflib.get_close_matches(variable.removeprefix(PREFIX), known, n=1)
    hint = f" Did you mean {known[near[0]]}?" if near else ""
    return f"{variable} is no setting of Headrace.{hint} The README lists them all."


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        where = str(item["loc"][0]) if item["loc"] else ""
        variable = where if where == METRICS_DIR_VARIABLE else PREFIX + where.upper()
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "missing":
            message = f"is not set. It takes: {Settings.model_fields[where].description}"
        lines.append(f"{variable} {message}" if where else message)
    return "; ".join(lines)
