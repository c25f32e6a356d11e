"""Configures the larder as a column asks for."""

import ast
import os

import larder

larder.configure(**ast.literal_eval(os.environ["PROBE_SETTINGS"]))
