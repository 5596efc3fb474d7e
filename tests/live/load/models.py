from django.db import models


class Row(models.Model):
    token = models.CharField(max_length=60, db_index=True)

    def __str__(self):
        return self.token
