from __future__ import annotations

from typing import Any

from tests.packages.site import Site
from tests.packages.visitor import PASSWORD, Visitor


class Accounts(Site):
    package = "django-allauth"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["INSTALLED_APPS"] += ["allauth", "allauth.account"]
        settings["MIDDLEWARE"].append("allauth.account.middleware.AccountMiddleware")
        settings["AUTHENTICATION_BACKENDS"] = [
            "django.contrib.auth.backends.ModelBackend",
            "allauth.account.auth_backends.AuthenticationBackend",
        ]

    def urls(self) -> list[Any]:
        from django.urls import include, path

        return [path("accounts/", include("allauth.urls"))]

    def work(self, request: Any) -> str:
        from allauth.core import context

        return f"{context.request.user} {context.request is request}"

    def effects(self, name: str) -> Any:
        from allauth.account.models import EmailAddress
        from django.core import mail

        return [
            [(m.subject, m.to) for m in mail.outbox if m.to[0].startswith(name)],
            list(
                EmailAddress.objects.filter(email__startswith=name).values_list(
                    "user__username", "email", "verified", "primary"
                )
            ),
        ]

    async def visit(self, visitor: Visitor) -> None:
        new = f"{visitor.name}-new"
        assert (await visitor.get("/accounts/")).headers["location"] == "/accounts/login/"
        assert (await visitor.get("/accounts/email/")).status_code == 302
        joined = await visitor.send_form(
            "/accounts/signup/",
            username=new,
            email=f"{new}@example.com",
            password1=PASSWORD,
            password2=PASSWORD,
        )
        assert joined.headers["location"] == "/"
        assert f"Hello {new}!" in (await visitor.get("/")).text
        assert (await visitor.get("/accounts/")).headers["location"] == "/accounts/email/"
        assert f"{new}@example.com" in (await visitor.get("/accounts/email/")).text
        left = await visitor.send_form("/accounts/logout/")
        assert left.headers["location"] == "/"
        assert "Hello AnonymousUser!" in (await visitor.get("/sync/")).text
        wrong = await visitor.send_form("/accounts/login/", login=new, password="wrong")
        assert "not correct" in wrong.text
        back = await visitor.send_form("/accounts/login/", login=new, password=PASSWORD)
        assert back.headers["location"] == "/"
        assert f"Hello {new}!" in (await visitor.get("/sync/")).text


site = Accounts()
