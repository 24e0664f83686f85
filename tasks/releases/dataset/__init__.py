"""The dataset in an archive: its folders, files, splits, pairs and leaks."""
