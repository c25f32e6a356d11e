"""The report in each of its forms: on a terminal, as JSON, Markdown, HTML and JUnit."""
