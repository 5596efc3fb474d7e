"""Imports point downwards only: what a module needs stands above it here."""

from __future__ import annotations

import ast
from pathlib import Path

import asyncviews

PACKAGE = Path(asyncviews.__file__).parent

LAYERS = """
conf threads async_database garbage annotations thread_usage urlconf overrides pulse text hooks notes backlog
body_limit forwarded pid_file process_title systemd
internals streaming telemetry origin access_log
connections problems inline_rules resolving resources validators health
sources inline_packages inline_marks
inline_classes
inline
errors handler background protocols habits
parameters
responses tasks middleware_costs logs
views durable diagnosis
rendering transactions
permissions
generic auth dashboard
openapi checks_urls checks_unions checks_settings
asgi
metrics checks testing stop
server apps pytest_plugin
workers startup
serving
management
""".strip().splitlines()


def part(module: str) -> str:
    """Return the name, below the package, of the module or package that a dotted path is in."""
    return module.partition("asyncviews.")[2].partition(".")[0]


def imports(path: Path) -> set[str]:
    """Return what a module imports of the package while it is imported itself."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asyncviews"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {part(f"{name}.") for name in names}
    return found - {""}


def test_imports_point_downwards():
    floor = {name: number for number, layer in enumerate(LAYERS) for name in layer.split()}
    modules = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]
    own = {path: path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules}
    assert set(own.values()) == floor.keys()
    upwards = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules
        for name in imports(path) - {own[path]}
        if floor[name] >= floor[own[path]]
    ]
    assert upwards == []
