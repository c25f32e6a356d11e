"""What can be known about Django's classes, the models behind tables, and a piece of SQL."""
