"""The dashboard's addresses: ``path("background/", include("asyncviews.dashboard.urls"))``."""

from __future__ import annotations

from django.urls import path
from django.views.decorators.csrf import csrf_protect

from asyncviews.dashboard.views import CancelTask, Dashboard, DashboardEvents, RetryTask

app_name = "asyncviews_dashboard"

# Protected here, too: a project may have no CsrfViewMiddleware.
urlpatterns = [
    path("", csrf_protect(Dashboard.as_view()), name="dashboard"),
    path("events/", DashboardEvents.as_view(), name="events"),
    path("tasks/<str:task_id>/cancel/", csrf_protect(CancelTask.as_view()), name="cancel"),
    path("tasks/<str:task_id>/retry/", csrf_protect(RetryTask.as_view()), name="retry"),
]
