"""Render the report: on a terminal, as JSON, Markdown, HTML and JUnit."""
