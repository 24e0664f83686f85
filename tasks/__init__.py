"""What flows do, nested by noun; only `steps.py` and `*_steps.py` know Prefect."""
