"""The settings the fork runs with, by the patch that each stands for."""

SETTINGS = {"fold-names": {"FOLD": True}}
