"""Problems: JSON for programs, a page for people, values only escaped."""

from __future__ import annotations

import pytest
from django.test import RequestFactory, override_settings

from asyncviews import InvalidParameters, Problem
from asyncviews.responses import problem_response


def answer(problem: Problem, accept: str | None = None):
    headers = {} if accept is None else {"accept": accept}
    return problem_response(RequestFactory().get("/", headers=headers), problem)


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
        ("image/png", "application/problem+json"),
        ("nonsense", "application/problem+json"),
        ("text/html", "text/html; charset=utf-8"),
        (BROWSER, "text/html; charset=utf-8"),
    ],
)
def test_a_browser_gets_a_page_and_everyone_else_json(accept, content_type):
    response = answer(Problem("no"), accept)
    assert response["Content-Type"] == content_type
    assert response["Vary"] == "Accept"


def test_a_document_has_the_members_of_rfc_9457():
    class Gone(Problem):
        status = 410

    assert Gone("sold out", meat="ribs").document() == {
        "type": "about:blank",
        "title": "Gone",
        "status": 410,
        "detail": "sold out",
        "meat": "ribs",
    }
    assert "detail" not in Gone().document()


def test_headers_are_sent():
    assert answer(Problem(headers={"Retry-After": "5"}))["Retry-After"] == "5"


EVIL = {
    "location": "query",
    "name": "<script>alert(1)</script>",
    "pointer": "/",
    "type": "x",
    "detail": "<img src=x>",
}


@pytest.mark.parametrize("templates", [None, []])
def test_the_page_escapes_what_the_client_sent(templates, settings):
    if templates is not None:
        settings.TEMPLATES = templates
    response = answer(InvalidParameters([EVIL]), "text/html")
    assert response.status_code == 422
    assert b"<script>" not in response.content
    assert b"<img" not in response.content
    assert b"&lt;script&gt;" in response.content


def test_a_project_may_replace_the_page():
    engine = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.locmem.Loader",
                    {"asyncviews/problem.html": "mine: {{ problem.title }}"},
                )
            ]
        },
    }
    with override_settings(TEMPLATES=[engine]):
        assert answer(InvalidParameters([EVIL]), BROWSER).content == b"mine: Unprocessable Content"
