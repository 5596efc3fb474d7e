"""``manage.py openapi``."""

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.urls import path

from asyncviews.openapi import OpenAPI
from tests.openapi import project
from tests.test_urlconf import root_urlconf


def run(*args):
    out = io.StringIO()
    call_command("openapi", *args, stdout=out)
    return out.getvalue()


@pytest.mark.urls("tests.openapi.project")
def test_it_prints_the_document_that_is_served():
    assert json.loads(run()) == project.api.document()


def test_it_prints_one_that_is_not_served():
    with root_urlconf(path("a/<name>/", project.Text.as_view())):
        document = json.loads(run())
    assert document["info"] == {"title": "API", "version": "1.0.0"}
    assert list(document["paths"]) == ["/a/{name}/"]


@pytest.mark.urls("tests.openapi.project")
def test_a_file_that_holds_the_document_passes(tmp_path):
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(json.loads(run())))  # however it is formatted
    assert run("--check", str(file)) == ""


@pytest.mark.urls("tests.openapi.project")
def test_a_file_that_differs_fails_and_the_difference_is_shown(tmp_path):
    file = tmp_path / "openapi.json"
    file.write_text(run().replace('"Smokehouse"', '"Smoke house"'))
    out = io.StringIO()
    with pytest.raises(
        CommandError, match=r"python manage\.py openapi > .*openapi\.json"
    ) as raised:
        call_command("openapi", "--check", str(file), stdout=out)
    assert raised.value.returncode == 1
    changed = [line for line in out.getvalue().splitlines() if line[:2] in {"- ", "+ "}]
    assert changed == ['-    "title": "Smoke house",', '+    "title": "Smokehouse",']


@pytest.mark.urls("tests.openapi.project")
@pytest.mark.parametrize("content", [None, b"", b"\xff", b"{"])
def test_a_file_that_is_no_json_is_named(tmp_path, content):
    file = tmp_path / "openapi.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError, match=r"openapi\.json cannot be read as JSON"):
        run("--check", str(file))


def test_of_several_documents_one_is_chosen():
    one, two = OpenAPI(name="v1", title="One"), OpenAPI(name="v2", title="Two")
    with root_urlconf(path("a/", one.urls), path("b/", two.urls)):
        assert json.loads(run("--document", "v2"))["info"]["title"] == "Two"
        with pytest.raises(CommandError, match=r"more than one document.*There are: v1, v2"):
            run()
        with pytest.raises(CommandError, match="no document 'v3'"):
            run("--document", "v3")
    with root_urlconf(), pytest.raises(CommandError, match="There are: none"):
        run("--document", "v1")
