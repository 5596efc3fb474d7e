"""The document and the page as they are served."""

import pytest
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.urls import include, path
from openapi_spec_validator import validate

from asyncviews.openapi import OpenAPI, views
from tests.openapi.project import Hidden, Text
from tests.test_urlconf import root_urlconf


@pytest.mark.urls("tests.openapi.project")
async def test_the_document(async_client):
    answer = await async_client.get("/docs/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    validate(answer.json())
    assert "/docs/" not in answer.json()["paths"]


@pytest.mark.urls("tests.openapi.project")
async def test_the_page_names_the_document_and_has_no_inline_script(async_client):
    answer = await async_client.get("/docs/")
    assert 'data-document="/docs/openapi.json"' in answer.text
    assert 'data-csrf-header="X-CSRFTOKEN"' in answer.text
    assert "csrftoken" in answer.cookies
    assert answer.text.count("<script") == answer.text.count("<script src=")


async def test_several_documents_in_one_project(async_client):
    one = OpenAPI(title="One", prefix="v1/", name="v1")
    two = OpenAPI(title="Two", prefix="v2/", name="v2")
    patterns = [
        path("v1/text/<name>/", Text.as_view()),
        path("v2/text/<name>/", Text.as_view()),
        path("<tenant>/docs/", include([path("v1/", one.urls), path("v2/", two.urls)])),
    ]
    with root_urlconf(*patterns):
        for api, paths in ((one, ["/v1/text/{name}/"]), (two, ["/v2/text/{name}/"])):
            page = await async_client.get(f"/a/docs/{api.name}/")
            assert f'data-document="/a/docs/{api.name}/openapi.json"' in page.text
            answer = await async_client.get(f"/a/docs/{api.name}/openapi.json")
            assert answer.json()["info"]["title"] == api.title
            assert list(answer.json()["paths"]) == paths


async def test_both_can_be_wrapped_in_a_decorator(async_client):
    api = OpenAPI(decorator=login_required)
    with root_urlconf(path("docs/", api.urls)):
        for url in ("/docs/", "/docs/openapi.json"):
            answer = await async_client.get(url)
            assert answer.status_code == 302
            assert answer.headers["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("missing", ["asyncviews", "drf_spectacular_sidecar"])
def test_what_is_not_installed_is_named(settings, missing):
    apps = [app for app in settings.INSTALLED_APPS if app != missing]
    message = f"INSTALLED_APPS has no '{missing}'"
    with override_settings(INSTALLED_APPS=apps), pytest.raises(ImproperlyConfigured, match=message):
        OpenAPI().urls  # noqa: B018 - a property


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(views, "SIDECAR", "no_such_package")
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'asyncviews\[docs-ui\]'"):
        OpenAPI().urls  # noqa: B018 - a property


def test_a_changed_setting_makes_a_new_document():
    api = OpenAPI()
    with root_urlconf(path("a/", Text.as_view()), path("b/", Hidden.as_view())):
        before = api.text()
        with override_settings(MIDDLEWARE=[]):
            assert api.text() is not before
