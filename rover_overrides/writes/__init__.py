"""Tracks every write, compiled by Django or raw SQL."""
