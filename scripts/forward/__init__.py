"""forward: a patch as upstream would take it, with a test in upstream's style, and its text."""
