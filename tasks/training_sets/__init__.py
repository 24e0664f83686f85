"""What it takes to make one training set of several projects: classes, splits, data.yaml."""
