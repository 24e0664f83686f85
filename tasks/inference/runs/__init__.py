"""A run of a model over a collection: its order, counts, documents, report, comparison."""
