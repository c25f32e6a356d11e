"""Rows that carry their versions, so that an answer says how old it is."""

from django.db import models


class Group(models.Model):
    name = models.CharField(max_length=40)
    version = models.BigIntegerField(default=0)


class Tag(models.Model):
    """Tag `n` of a fact is bit `n` of the version of its tags."""

    slug = models.CharField(max_length=40)


class Fact(models.Model):
    name = models.CharField(max_length=40)
    version = models.BigIntegerField(default=0)
    label = models.CharField(
        max_length=40, default=""
    )  # of the version: a condition that a row meets for a while
    group = models.ForeignKey(Group, related_name="facts", on_delete=models.CASCADE)
    tags = models.ManyToManyField(Tag, related_name="facts")


class Mark(models.Model):
    number = models.IntegerField(unique=True)
    version = models.BigIntegerField(default=0)
    fact = models.ForeignKey(Fact, related_name="marks", on_delete=models.CASCADE)
