"""Empty: a test names the URLs that it needs with ``@pytest.mark.urls(__name__)``."""

urlpatterns = []
