"""What one retryable step does: a package per noun, pure modules beside thin Prefect tasks."""
