from django.contrib import admin
from django.urls import include, path

from demo_site import views

urlpatterns = [
    path("", views.Index.as_view(), name="index"),
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
    path("admin/", admin.site.urls),
]
