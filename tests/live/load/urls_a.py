from tests.live.load.urls import urlpatterns

__all__ = ["urlpatterns"]
