from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DurableConfig(AppConfig):
    name = "asyncviews.durable"
    label = "asyncviews_durable"
    verbose_name = _("Durable tasks")
    default_auto_field = "django.db.models.BigAutoField"
