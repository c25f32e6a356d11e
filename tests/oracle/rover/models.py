"""Every kind of column and relation that a filter can go through."""

from __future__ import annotations

from enum import Enum

from django.conf import settings
from django.db import models

POSTGRESQL = "postgresql" in settings.DATABASES["default"]["ENGINE"]


class Mood(str, Enum):
    """A member is a str, and which text a driver makes of it is the question."""

    CALM = "calm"
    LOUD = "Loud"


class Country(models.Model):
    name = models.CharField(max_length=40)
    code = models.SlugField(null=True)


class Region(models.Model):
    name = models.CharField(max_length=40, null=True)
    size = models.IntegerField(default=0)
    country = models.ForeignKey(Country, models.SET_NULL, null=True, related_name="regions")


class Category(models.Model):
    name = models.CharField(max_length=40)
    slug = models.SlugField(null=True)
    parent = models.ForeignKey("self", models.SET_NULL, null=True, related_name="children")
    region = models.ForeignKey(Region, models.CASCADE, null=True, related_name="categories")


class Author(models.Model):
    name = models.CharField(max_length=40)
    nick = models.TextField(null=True)
    born = models.DateField(null=True)
    mentor = models.ForeignKey("self", models.SET_NULL, null=True, related_name="pupils")


class Item(models.Model):
    title = models.CharField(max_length=60)
    body = models.TextField(null=True)
    slug = models.SlugField(default="")
    plain = models.CharField(
        max_length=40, null=True, db_collation=None if POSTGRESQL else "NOCASE"
    )
    mood = models.CharField(max_length=10, default="calm")
    rank = models.IntegerField(null=True)
    big = models.BigIntegerField(default=0)
    price = models.DecimalField(max_digits=10, decimal_places=2, null=True)
    score = models.FloatField(null=True)
    live = models.BooleanField(default=False)
    flag = models.BooleanField(null=True)
    day = models.DateField(null=True)
    at = models.DateTimeField(null=True)
    clock = models.TimeField(null=True)
    span = models.DurationField(null=True)
    uid = models.UUIDField(null=True)
    data = models.JSONField(null=True)
    category = models.ForeignKey(Category, models.CASCADE, null=True, related_name="items")
    owner = models.ForeignKey(Author, models.SET_NULL, null=True, related_name="owned")
    authors = models.ManyToManyField(Author, related_name="items")
    alike = models.ManyToManyField("self", symmetrical=False, related_name="liked")
    if POSTGRESQL:
        from django.contrib.postgres.fields import ArrayField

        labels = ArrayField(models.CharField(max_length=20), null=True)


class Special(Item):
    """A child with a table of its own."""

    extra = models.CharField(max_length=40, null=True)
    gain = models.IntegerField(default=0)


class ItemProxy(Item):
    """Another name for the same table."""

    class Meta:
        proxy = True


class Detail(models.Model):
    item = models.OneToOneField(Item, models.CASCADE, null=True, related_name="detail")
    text = models.TextField(null=True)


class Comment(models.Model):
    item = models.ForeignKey(Item, models.CASCADE, related_name="comments")
    author = models.ForeignKey(Author, models.SET_NULL, null=True, related_name="comments")
    text = models.TextField(default="")
    likes = models.IntegerField(null=True)
    made = models.DateTimeField(null=True)


class Role(models.Model):
    """A through table with columns of its own."""

    author = models.ForeignKey(Author, models.CASCADE, related_name="roles")
    category = models.ForeignKey(Category, models.CASCADE, related_name="roles")
    name = models.CharField(max_length=20, unique=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["author", "category"], name="one_role"),)


MODELS = (Country, Region, Category, Author, Item, Special, ItemProxy, Detail, Comment, Role)
"""Those that queries start from."""
