"""Tables with a column of each kind that queries compare, and relations of each kind between them."""

from django.db import models


class Maker(models.Model):
    name = models.CharField(max_length=100, null=True)
    rank = models.IntegerField(null=True)


class Owner(models.Model):
    name = models.CharField(max_length=100, null=True)
    rank = models.IntegerField(null=True)
    maker = models.ForeignKey(Maker, null=True, on_delete=models.CASCADE, related_name="owners")


class Tag(models.Model):
    name = models.CharField(max_length=100, null=True)
    rank = models.IntegerField(null=True)


class Item(models.Model):
    text = models.CharField(max_length=100, null=True)
    body = models.TextField(null=True)
    number = models.BigIntegerField(null=True)
    amount = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    ratio = models.FloatField(null=True)
    flag = models.BooleanField(null=True)
    moment = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    clock = models.TimeField(null=True)
    span = models.DurationField(null=True)
    uid = models.UUIDField(null=True)
    address = models.GenericIPAddressField(null=True, unpack_ipv4=True)
    owner = models.ForeignKey(Owner, null=True, on_delete=models.CASCADE, related_name="items")
    maker = models.ForeignKey(
        Maker, null=True, on_delete=models.CASCADE, related_name="items", db_column="made_by"
    )
    tags = models.ManyToManyField(Tag, related_name="items")


class Document(models.Model):
    """Columns whose NULL or order is not what it looks like."""

    name = models.CharField(max_length=100, null=True)
    data = models.JSONField(null=True)
    file = models.FileField(null=True)
    raw = models.BinaryField(null=True)


MODELS = [Maker, Owner, Tag, Item, Document]
