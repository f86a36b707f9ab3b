"""Writes the files that are made from `--about`: `make generate`.

With `--check`, writes nothing and fails if any of them has drifted.
"""

from __future__ import annotations

import argparse
import json
import sys
import typing as t
from pathlib import Path

import yaml

from tap_metrika_calls.tap import TapMetrikaCalls

JSON: t.TypeAlias = dict[str, t.Any]

ROOT = Path(__file__).parents[1]
HEAD = "# Made by scripts/generate.py from --about: `make generate`.\n"
KINDS = {
    "integer": "integer",
    "boolean": "boolean",
    # Meltano fails on an array that is no JSON with a traceback and without naming the
    # setting. As strings they come to the tap, which reads them and says what is wrong.
    "array": "string",
}
HUB: JSON = {
    "name": "tap-metrika-calls",
    "namespace": "tap_metrika_calls",
    "variant": "metrika-calls",
    "label": "Yandex Metrica calls",
    "description": "Processing status of call uploads in Yandex Metrica",
    "domain_url": "https://yandex.com/dev/metrika/en/management/",
    "executable": "tap-metrika-calls",
    "log_parser": "singer-sdk",
    "keywords": ["meltano_sdk", "api", "yandex", "metrica", "calls"],
    "maintenance_status": "active",
    "quality": "silver",
    "supported_python_versions": ["3.11", "3.12", "3.13", "3.14"],
}


def about() -> JSON:
    """What the tap tells of itself."""
    info = TapMetrikaCalls._get_about_info()  # noqa: SLF001
    return {
        "settings": info.settings,
        "capabilities": sorted(capability.value for capability in info.capabilities),
    }


def own_settings(settings: JSON) -> JSON:
    """The settings of this tap, without those that the SDK adds to every tap."""
    own = json.loads((ROOT / "scripts" / "settings.ru.json").read_text("utf-8"))
    properties = settings["properties"]
    missing = set(own) ^ {name for name in properties if not is_built_in(name)}
    if missing:
        sys.exit(f"scripts/settings.ru.json: look at {', '.join(sorted(missing))}")
    return {name: properties[name] for name in own}


def is_built_in(name: str) -> bool:
    """Whether the SDK adds the setting to every tap."""
    prefixes = ("batch_", "emit_", "faker_", "flattening_", "stream_map")
    return name.startswith(prefixes)


def hub_setting(name: str, schema: JSON) -> JSON:
    """A setting in the form of Meltano's plugin definitions."""
    kinds = types_of(schema)
    kind = next((KINDS[k] for k in kinds if k in KINDS), "string")
    if "object" in kinds:
        kind = "object"
    if schema.get("format") == "date-time":
        kind = "date_iso8601"
    setting: JSON = {"name": name, "label": schema.get("title", name), "kind": kind}
    if "enum" in schema:
        setting["kind"] = "options"
        setting["options"] = [{"label": v, "value": v} for v in schema["enum"]]
    if "default" in schema:
        setting["value"] = schema["default"]
    if schema.get("description"):
        setting["description"] = schema["description"]
    if schema.get("secret"):
        setting["sensitive"] = True
    return setting


def types_of(schema: JSON) -> list[str]:
    """The types that a setting may have."""
    kinds: str | list[str] = schema["type"]
    return [kinds] if isinstance(kinds, str) else kinds


def plugin_definition(info: JSON) -> JSON:
    """The plugin as Meltano and its Hub know it."""
    properties = info["settings"]["properties"]
    return {
        **HUB,
        "capabilities": info["capabilities"],
        "select": ["calls_uploadings.*"],
        "settings_group_validation": [["oauth_token"]],
        "settings": [hub_setting(name, prop) for name, prop in properties.items()],
    }


def table(settings: JSON, texts: t.Mapping[str, str], words: t.Sequence[str]) -> str:
    """The settings as a Markdown table."""
    setting, kind, default, meaning = words
    rows = [f"| {setting} | {kind} | {default} | {meaning} |", "|---|---|---|---|"]
    for name, schema in settings.items():
        kinds = [k for k in types_of(schema) if k != "null"]
        value = f"`{schema['default']}`" if "default" in schema else ""
        rows.append(f"| `{name}` | {', '.join(kinds)} | {value} | {texts[name]} |")
    return "\n".join(rows)


def between(text: str, mark: str, inner: str) -> str:
    """Replace what stands between two marks.

    Raises:
        ValueError: If a mark is missing.
    """
    opening, closing = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    head, rest = text.split(opening)
    _, tail = rest.split(closing)
    return f"{head}{opening}{inner}\n{closing}{tail}"


def generated() -> dict[Path, str]:
    """All files that are made, with what they have to hold."""
    info = about()
    own = own_settings(info["settings"])
    english = {name: schema["description"] for name, schema in own.items()}
    russian = json.loads((ROOT / "scripts" / "settings.ru.json").read_text("utf-8"))
    files: dict[Path, str] = {}
    for name, texts, words in (
        ("README.md", english, ("setting", "type", "default", "meaning")),
        ("README.ru.md", russian, ("настройка", "тип", "по умолчанию", "смысл")),
    ):
        path = ROOT / name
        filled = table(own, texts, words)
        files[path] = between(path.read_text("utf-8"), "settings", filled)
    definition = plugin_definition(info)
    hub = {**definition, "pip_url": "tap-metrika-calls"}
    files[ROOT / "hub" / "tap-metrika-calls.yml"] = HEAD + dumped(hub)
    project = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
    kept = ("name", "namespace", "label", "executable", "capabilities", "select")
    extractor = {"pip_url": "-e ."} | {key: definition[key] for key in kept}
    extractor["settings"] = definition["settings"]
    project["plugins"]["extractors"] = [{"name": extractor.pop("name"), **extractor}]
    files[ROOT / "meltano.yml"] = HEAD + dumped(project)
    lines = ["# Copy to .env; other settings are shown with their defaults."]
    for name, schema in own.items():
        off = "" if name == "oauth_token" else "# "
        value = schema.get("default", "")
        lines += [f"{off}TAP_METRIKA_CALLS_{name.upper()}={value}"]
    files[ROOT / ".env.example"] = "\n".join(lines) + "\n"
    return files


def dumped(content: JSON) -> str:
    """YAML in the order given."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=88)


def main() -> int:
    """Write or check all files.

    Returns:
        1 if a check found a file that drifted.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    is_check = parser.parse_args().check
    drifted = 0
    for path, content in generated().items():
        if path.exists() and path.read_text("utf-8") == content:
            continue
        name = path.relative_to(ROOT)
        if is_check:
            print(f"{name} is not as --about tells: run `make generate`")
            drifted = 1
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
            print(f"{name} written")
    return drifted


if __name__ == "__main__":
    sys.exit(main())
