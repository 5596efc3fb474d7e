"""What all sites have, and what the one adds that the process serves."""

from __future__ import annotations

import os

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from tests.packages import views
from tests.packages.site import load

urlpatterns = [
    path("", views.home),
    path("sync/", views.home_sync),
    path("login/", LoginView.as_view()),
    path("logout/", LogoutView.as_view()),
    path("meet/", views.meet),
    path("meet-sync/", views.meet_sync),
    path("effects/", views.effects),
    path("fail/", views.fail),
    *load(os.environ["PACKAGES_SITE"]).urls(),
]
