"""The keys of queries from their structure, without compiling them."""
