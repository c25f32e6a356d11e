"""Tables with a field of each kind that the probes compare."""

import django
from django.db import connection, models

NOCASE = django.VERSION >= (3, 2) and connection.vendor == "sqlite"


class Section(models.Model):
    name = models.CharField(max_length=100)


class Tag(models.Model):
    name = models.CharField(max_length=100)


class Article(models.Model):
    title = models.CharField(max_length=100)
    subtitle = models.CharField(max_length=100, null=True)
    slug = models.SlugField()
    body = models.TextField()
    pages = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    published = models.DateTimeField(null=True)
    draft = models.BooleanField(default=False)
    section = models.ForeignKey(Section, null=True, on_delete=models.SET_NULL, related_name="articles")
    tags = models.ManyToManyField(Tag)


class Label(models.Model):
    """A name that the database itself compares without case, where Django can say so and the database has such a rule."""

    name = models.CharField(max_length=100, **({"db_collation": "NOCASE"} if NOCASE else {}))


class Blob(models.Model):
    data = models.BinaryField(null=True)
