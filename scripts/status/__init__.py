"""The verb `status` and its relatives.

They decide which columns run and in which order, and since when upstream provides a feature.
"""
