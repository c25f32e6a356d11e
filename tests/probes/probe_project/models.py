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
    section = models.ForeignKey(
        Section, null=True, on_delete=models.SET_NULL, related_name="articles"
    )
    tags = models.ManyToManyField(Tag)


class Label(models.Model):
    """A name that the database itself compares without case, where Django can say so and the database has such a rule."""

    name = models.CharField(max_length=100, **({"db_collation": "NOCASE"} if NOCASE else {}))


class Blob(models.Model):
    data = models.BinaryField(null=True)


class NocaseField(models.CharField):
    """Text that the database compares without case, where it has such a rule, said in a way that every Django has."""

    def db_type(self, connection):
        return "varchar(%d)%s" % (
            self.max_length,
            " COLLATE NOCASE" if connection.vendor == "sqlite" else "",
        )


class Shade(models.Model):
    name = NocaseField(max_length=100)


class Measure(models.Model):
    """A column of each type whose values people spell in more than one way."""

    amount = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    ratio = models.FloatField(null=True)
    moment = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    clock = models.TimeField(null=True)
    span = models.DurationField(null=True)
    address = models.GenericIPAddressField(null=True)
    uid = models.UUIDField(null=True)
    code = models.CharField(max_length=100, null=True)


class Region(models.Model):
    name = models.CharField(max_length=100)


class City(models.Model):
    name = models.CharField(max_length=100)
    region = models.ForeignKey(Region, on_delete=models.CASCADE, related_name="cities")


class Shop(models.Model):
    """The start of a chain of foreign keys, in the order of the name at its first hop."""

    name = models.CharField(max_length=100)
    city = models.ForeignKey(City, null=True, on_delete=models.CASCADE, related_name="shops")

    class Meta:
        ordering = ["city__name", "pk"]


class Wide(models.Model):
    """Columns enough for thousands of combinations of conditions."""

    a = models.IntegerField(default=0)
    b = models.IntegerField(default=0)
    c = models.IntegerField(default=0)
    d = models.IntegerField(default=0)
    e = models.IntegerField(default=0)
    f = models.IntegerField(default=0)
    g = models.IntegerField(default=0)
    h = models.IntegerField(default=0)
    i = models.IntegerField(default=0)
    j = models.IntegerField(default=0)
    k = models.IntegerField(default=0)
