from django.apps import AppConfig


class AsyncViewsConfig(AppConfig):
    name = "asyncviews"
    verbose_name = "asyncviews"

    def ready(self) -> None:
        from asyncviews import checks  # noqa: F401 - it registers them
