from django.contrib import admin
from django.urls import include, path

from asyncviews.openapi import OpenAPI
from demo_site import batches, views

api = OpenAPI(title="The smoker's API", version="1.0", prefix="api/")

# What no view answers is a problem, too, unless a browser asks.
handler400 = "asyncviews.problems.bad_request"
handler403 = "asyncviews.problems.permission_denied"
handler404 = "asyncviews.problems.page_not_found"
handler500 = "asyncviews.problems.server_error"

urlpatterns = [
    path("", views.Index.as_view(), name="index"),
    path("batches/<int:pk>/cancel/", views.CancelBatch.as_view(), name="cancel_batch"),
    path("batches/<int:pk>/remove/", views.RemoveBatch.as_view(), name="remove_batch"),
    path("async/", views.Async.as_view(), name="async"),
    path("sync/", views.sync, name="sync"),
    path("sync_to_async/", views.SyncToAsync.as_view(), name="sync_to_async"),
    path("smoke_some_meats/", views.SmokeSomeMeats.as_view(), name="smoke_some_meats"),
    path("burn_some_meats/", views.BurnSomeMeats.as_view(), name="burn_some_meats"),
    path("send_an_email/", views.SendAnEmail.as_view(), name="send_an_email"),
    path("call_an_api/", views.CallAnApi.as_view(), name="call_an_api"),
    path("write_a_file/", views.WriteAFile.as_view(), name="write_a_file"),
    path("weather.json", views.WeatherApi.as_view(), name="weather"),
    path("orders/", include("demo_site.orders")),
    path("api/batches/", batches.Batches.as_view(), name="api_batches"),
    path("api/batches/events/", batches.BatchEvents.as_view(), name="api_batch_events"),
    path("api/batches/export/", batches.BatchExport.as_view(), name="api_batch_export"),
    path("api/batches/<int:pk>/", batches.OneBatch.as_view(), name="api_batch"),
    path("api/batches/<int:pk>/cancel/", batches.CancelBatch.as_view(), name="api_batch_cancel"),
    path("api/batches/<int:pk>/photo/", batches.BatchPhoto.as_view(), name="api_batch_photo"),
    path("api/docs/", api.urls),
    path("background/", include("asyncviews.dashboard.urls")),
    path("admin/", admin.site.urls),
]
