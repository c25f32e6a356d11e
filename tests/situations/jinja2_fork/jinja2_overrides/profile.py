"""The settings that the fork runs with, by the patch that each stands for."""

SETTINGS = {}
