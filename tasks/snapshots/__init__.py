"""Keeping the folder of Parquet snapshots small."""
