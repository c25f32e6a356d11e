"""Tables with whatever makes a write hard to follow: inheritance, proxies, cascades, conflicts, computed columns."""

import uuid

import django
from django.db import models


class Shelf(models.Model):
    name = models.CharField(max_length=100)


class Book(models.Model):
    title = models.CharField(max_length=100)
    pages = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    changed = models.DateTimeField(auto_now=True)
    extra = models.JSONField(null=True)
    shelf = models.ForeignKey(
        Shelf, null=True, on_delete=models.SET_NULL, related_name="books", db_column="on_shelf"
    )
    tags = models.ManyToManyField("Tag")


class OldBook(Book):
    class Meta:
        proxy = True


class Tag(models.Model):
    slug = models.SlugField(unique=True)
    hits = models.IntegerField(default=0)


class Loan(models.Model):
    book = models.ForeignKey(Book, on_delete=models.CASCADE)
    reader = models.CharField(max_length=100)


class Place(models.Model):
    name = models.CharField(max_length=100)


class Cafe(Place):
    seats = models.IntegerField(default=0)


class Token(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    note = models.TextField(default="")


class Plain(models.Model):
    """A model without a profile."""

    name = models.CharField(max_length=100)


MODELS = [Shelf, Tag, Book, Loan, Place, Cafe, Token, Plain]

if django.VERSION >= (5, 0):
    from django.db.models.functions import Upper

    class Computed(models.Model):
        name = models.CharField(max_length=100)
        loud = models.GeneratedField(
            expression=Upper("name"), output_field=models.CharField(max_length=100), db_persist=True
        )
        kind = models.CharField(max_length=100, db_default="plain")

    MODELS.append(Computed)

if django.VERSION >= (6, 1):

    class Wing(models.Model):
        name = models.CharField(max_length=100)

    class Room(models.Model):
        wing = models.ForeignKey(Wing, on_delete=models.DB_CASCADE)

    class Chair(models.Model):
        room = models.ForeignKey(Room, on_delete=models.DB_CASCADE)

    class Lamp(models.Model):
        chair = models.ForeignKey(Chair, null=True, on_delete=models.DB_SET_NULL)

    class Bulb(models.Model):
        lamp = models.ForeignKey(Lamp, on_delete=models.DB_CASCADE)

    MODELS += [Wing, Room, Chair, Lamp, Bulb]
