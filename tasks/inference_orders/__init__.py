"""What is asked of a run of inference, looked up and checked."""
