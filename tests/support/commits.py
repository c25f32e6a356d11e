"""Commits of files that a test makes up."""


def commit(git, files, parent=None):
    """Write files (text or bytes by path) as the tree of a commit, and return its id."""
    with git.temporary_index() as handle:
        for path, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            blob = handle.text("hash-object", "-w", "--stdin", stdin=data)
            handle.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
        tree = handle.text("write-tree")
    return git.text("commit-tree", tree, *(("-p", parent) if parent else ()), "-m", "A change")
