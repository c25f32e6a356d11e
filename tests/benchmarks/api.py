"""A page as a client of Rover's API asks for it: 20 rows, three free filters, one through a key."""

from __future__ import annotations

from random import Random

from benchmarks.shop.models import Category, Item
from django_filters import FilterSet
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.filters import OrderingFilter
from rest_framework.generics import ListAPIView
from rest_framework.pagination import PageNumberPagination
from rest_framework.serializers import ModelSerializer
from rest_framework.test import APIRequestFactory

Query = dict[str, str]


class CategorySerializer(ModelSerializer):
    class Meta:
        model = Category
        fields = ["id", "name"]


class ItemSerializer(ModelSerializer):
    category = CategorySerializer()

    class Meta:
        model = Item
        fields = ["id", "title", "slug", "rank", "live", "price", "made", "category"]


class ItemFilter(FilterSet):
    class Meta:
        model = Item
        fields = {
            "rank": ["exact", "gte", "lte"],
            "title": ["exact", "icontains", "startswith"],
            "category__name": ["exact", "startswith"],
        }


class Pages(PageNumberPagination):
    page_size = 20


class ItemList(ListAPIView):
    queryset = Item.objects.select_related("category").order_by("pk")
    serializer_class = ItemSerializer
    filterset_class = ItemFilter
    filter_backends = [DjangoFilterBackend, OrderingFilter]
    ordering_fields = ["rank", "made"]
    pagination_class = Pages


_VIEW = ItemList.as_view()
_REQUESTS = APIRequestFactory()


def random_query(rng: Random) -> Query:
    """Return the filters of a request; few of them are asked for often, many seldom."""
    popular = Random(min(int(rng.paretovariate(0.8)), 2_000))
    return {
        "category__name": f"c{popular.randrange(10)}",
        "rank__gte": str(popular.randrange(0, 90, 5)),
        "title__icontains": f"{popular.randrange(10)}",
        "ordering": popular.choice(["rank", "-made"]),
    }


def get_page(query: Query) -> bytes:
    """Return what the API answers."""
    response = _VIEW(_REQUESTS.get("/items", query))
    assert response.status_code == 200, response.data
    return bytes(response.render().content)
