"""The runner: the life of a submission, plugins contained in processes of their own, and the workspace they share."""
