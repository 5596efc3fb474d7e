"""Permissions are those that Django's synchronous mixin finds, whichever methods are overridden."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import mixins
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.test import RequestFactory
from django.views import View

from asyncviews.permissions import has_permissions

SMOKE, BURN = "app.smoke", "app.burn"


class User(AnonymousUser):
    """A user as Django's are, without a database; the names of permissions are known already."""

    is_anonymous, is_authenticated, is_active, is_superuser = False, True, True, False

    def __init__(self, *permissions: str) -> None:
        self._perm_cache = self._user_perm_cache = {*permissions}
        self._group_perm_cache = set()


def sync_method(answer: Any) -> Any:
    def method(self, *args, **kwargs):
        if isinstance(answer, Exception):
            raise answer
        return answer

    return method


def async_method(answer: Any) -> Any:
    async def method(self, *args, **kwargs):
        return sync_method(answer)(self)

    return method


YES, NO, VETO = True, False, PermissionDenied()
NAMES, NONE = {SMOKE}, set()

USERS: dict[str, dict[str, Any]] = {
    "user": {},
    "has_perm: yes": {"has_perm": sync_method(YES)},
    "has_perm: no": {"has_perm": sync_method(NO)},
    "has_perms: yes": {"has_perms": sync_method(YES)},
    "has_perms: no": {"has_perms": sync_method(NO)},
    "ahas_perm: yes": {"ahas_perm": async_method(YES)},
    "ahas_perm: no": {"ahas_perm": async_method(NO)},
    "ahas_perms: no": {"ahas_perms": async_method(NO)},
    "both: yes": {"has_perm": sync_method(YES), "ahas_perm": async_method(YES)},
    "both: no": {"has_perm": sync_method(NO), "ahas_perm": async_method(NO)},
}
BACKENDS: dict[str, tuple[tuple[type, ...], dict[str, Any]]] = {
    "ModelBackend": ((ModelBackend,), {}),
    "has_perm: yes": ((ModelBackend,), {"has_perm": sync_method(YES)}),
    "has_perm: no": ((ModelBackend,), {"has_perm": sync_method(NO)}),
    "has_perm: veto": ((ModelBackend,), {"has_perm": sync_method(VETO)}),
    "ahas_perm: yes": ((ModelBackend,), {"ahas_perm": async_method(YES)}),
    "ahas_perm: no": ((ModelBackend,), {"ahas_perm": async_method(NO)}),
    "both: yes": (
        (ModelBackend,), {"has_perm": sync_method(YES), "ahas_perm": async_method(YES)},
    ),
    "both: no": ((ModelBackend,), {"has_perm": sync_method(NO), "ahas_perm": async_method(NO)}),
    "all: some": ((ModelBackend,), {"get_all_permissions": sync_method(NAMES)}),
    "all: none": ((ModelBackend,), {"get_all_permissions": sync_method(NONE)}),
    "aall: none": ((ModelBackend,), {"aget_all_permissions": async_method(NONE)}),
    "private: none": ((ModelBackend,), {"_get_permissions": sync_method(NONE)}),
    "base, user's: some": ((BaseBackend,), {"get_user_permissions": sync_method(NAMES)}),
    "base, group's: some": ((BaseBackend,), {"get_group_permissions": sync_method(NAMES)}),
    "base, nothing": ((BaseBackend,), {}),
    "no base, sync: yes": ((), {"has_perm": sync_method(YES)}),
    "no base, sync: veto": ((), {"has_perm": sync_method(VETO)}),
    "no base, async: yes": ((), {"ahas_perm": async_method(YES)}),
    "no base, nothing": ((), {}),
}  # fmt: skip


ASYNCHRONOUS = {"ahas_perm", "ahas_perms", "aget_all_permissions"}


def kinds(methods: dict[str, Any]) -> set[str]:
    """Return of which kinds the overrides are that stand without their twin."""
    return {
        "async" if name in ASYNCHRONOUS else "sync"
        for name in methods
        if (name[1:] if name in ASYNCHRONOUS else f"a{name}") not in methods
    }


@pytest.fixture
def backends(settings, monkeypatch):
    """Set the authentication backends to classes of these names."""

    def use(*names: str) -> None:
        paths = []
        for number, name in enumerate(names):
            bases, methods = BACKENDS[name]
            monkeypatch.setitem(globals(), f"Backend{number}", type("Backend", bases, methods))
            paths.append(f"{__name__}.Backend{number}")
        settings.AUTHENTICATION_BACKENDS = paths

    return use


def djangos_answer(user: Any, *permissions: str) -> bool:
    class Page(mixins.PermissionRequiredMixin, View):
        permission_required = permissions

    page = Page()
    page.request = RequestFactory().get("/")
    page.request.user = user
    return page.has_permission()


async def compare(made: Any, expected_kinds: set[str], *permissions: str) -> None:
    """Compare our answer with that of Django's halves that count."""
    sync = await sync_to_async(djangos_answer)(made(), *permissions)
    asynchronous = await made().ahas_perms(permissions)
    ours = await has_permissions(made(), permissions)
    if expected_kinds <= {"sync"}:
        assert ours is sync
    elif expected_kinds == {"async"}:
        assert ours is asynchronous
    else:
        assert ours is (sync and asynchronous)


@pytest.mark.parametrize("granted", [(), (SMOKE,)], ids=["without", "with"])
@pytest.mark.parametrize(("user", "backend"), [*product(USERS, BACKENDS)])
async def test_the_half_that_was_overridden_last_counts(backends, user, backend, granted):
    backends(backend)
    cls = type("Cook", (User,), USERS[user])
    found = kinds(USERS[user]) | kinds(BACKENDS[backend][1])
    await compare(lambda: cls(*granted), found, SMOKE)
    await compare(lambda: cls(*granted), found, SMOKE, BURN)


@pytest.mark.parametrize(
    "names", [("ModelBackend", "has_perm: veto"), ("no base, sync: veto", "ModelBackend")]
)
async def test_each_backend_is_looked_at(backends, names):
    backends(*names)
    await compare(lambda: User(SMOKE), {"sync"}, SMOKE)
    await compare(User, {"sync"}, SMOKE)


async def test_a_later_class_overrides_an_earlier_one(backends):
    backends("ModelBackend")
    strict = type("Strict", (User,), {"has_perm": sync_method(NO)})
    modern = type("Modern", (strict,), {"ahas_perm": async_method(YES)})
    stricter = type("Stricter", (modern,), {"has_perm": sync_method(NO)})
    assert not await has_permissions(strict(SMOKE), [SMOKE])
    assert await has_permissions(modern(), [SMOKE])
    assert not await has_permissions(stricter(SMOKE), [SMOKE])


async def test_a_method_of_the_instance_counts(backends):
    backends("ModelBackend")
    user = User(SMOKE)
    assert await has_permissions(user, [SMOKE])
    user.has_perm = lambda permission, obj=None: False
    assert not await has_permissions(user, [SMOKE])


async def test_a_method_that_is_patched_later_counts(backends, monkeypatch):
    backends("ModelBackend")
    assert await has_permissions(User(SMOKE), [SMOKE])
    monkeypatch.setattr(User, "has_perm", sync_method(NO))
    assert not await has_permissions(User(SMOKE), [SMOKE])


async def test_permissions_may_be_an_iterator(backends):
    """Which is empty when the second half asks for it: of nothing, everybody has all."""
    backends("has_perm: no")
    cls = type("Cook", (User,), {"ahas_perm": async_method(YES)})
    assert not await has_permissions(cls(SMOKE), iter([SMOKE]))


async def test_permissions_that_are_one_string_are_djangos_error(backends):
    for name in ("ModelBackend", "has_perm: no"):
        backends(name)
        with pytest.raises(ValueError, match="must be an iterable of permissions"):
            await has_permissions(User(SMOKE), SMOKE)


async def test_a_user_model_may_have_has_perm_only(backends):
    """As in the full example of Django's documentation."""
    backends("ModelBackend")

    class Cook:
        def has_perm(self, permission, obj=None):
            return permission == SMOKE

    assert await has_permissions(Cook(), [SMOKE])
    assert not await has_permissions(Cook(), [SMOKE, BURN])


@pytest.mark.parametrize("answer", [1, "yes", object()])
async def test_an_answer_that_is_neither_yes_nor_no_is_an_error(backends, answer):
    backends("ModelBackend")
    for methods in ({"has_perms": sync_method(answer)}, {"ahas_perms": async_method(answer)}):
        user = type("Cook", (User,), methods)(SMOKE)
        with pytest.raises(TypeError, match=r"Cook.a?has_perms\(\) must be True or False"):
            await has_permissions(user, [SMOKE])


async def test_a_synchronous_method_that_is_none_is_refused(backends, monkeypatch):
    """`all(self.has_perm(...))` of Django's would take its coroutine for a yes."""
    backends("ModelBackend")
    user = type("Cook", (User,), {"has_perm": async_method(NO)})()
    with pytest.raises(
        ImproperlyConfigured, match=r"Cook.has_perm\(\) must be a plain `def`.*ahas"
    ):
        await has_permissions(user, [SMOKE])
    monkeypatch.setitem(BACKENDS, "wrong", ((ModelBackend,), {"has_perm": async_method(NO)}))
    backends("wrong")
    with pytest.raises(ImproperlyConfigured, match=r"Backend.has_perm\(\) must be a plain `def`"):
        await has_permissions(User(), [SMOKE])


async def test_a_user_model_without_django_contrib_auth(settings):
    """Its backends could not even be imported."""
    settings.INSTALLED_APPS = []
    settings.AUTHENTICATION_BACKENDS = ["missing.Backend"]
    assert await has_permissions(type("Cook", (User,), USERS["both: yes"])(), [SMOKE])
