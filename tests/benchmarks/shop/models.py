"""A shop small enough to say what each measure costs: rows of one table, with a foreign key."""

from __future__ import annotations

from django.db import models


class Category(models.Model):
    name = models.CharField(max_length=40)


class Item(models.Model):
    title = models.CharField(max_length=60)
    slug = models.SlugField()
    rank = models.IntegerField()
    live = models.BooleanField(default=True)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    made = models.DateTimeField()
    category = models.ForeignKey(Category, models.CASCADE)


class Post(models.Model):
    title = models.CharField(max_length=60)
    text = models.TextField()
    category = models.ForeignKey(Category, models.CASCADE)


class Visit(models.Model):
    seconds = models.IntegerField()
    item = models.ForeignKey(Item, models.CASCADE)
