"""The README's table of settings is the truth."""

from __future__ import annotations

from ingest.config import PREFIX, Settings
from ingest.environ import METRICS_DIR_VARIABLE
from tests.support.pages import find_table, read_page


def _describe_setting(name: str) -> list[str]:
    field = Settings.model_fields[name]
    variable = METRICS_DIR_VARIABLE if field.validation_alias else PREFIX + name.upper()
    if field.is_required():
        shown = "required"
    elif isinstance(field.default, float):
        shown = f"`{field.default:g}`"
    else:
        shown = f"`{field.default}`" if field.default else ""
    return [f"`{variable}`", shown, str(field.description)]


def test_the_readme_lists_every_setting_with_its_default_and_description() -> None:
    table = find_table(read_page("README.md"), "Variable")

    assert table.heading == "Settings"
    assert [list(row) for row in table.rows] == [
        _describe_setting(name) for name in Settings.model_fields
    ]
