"""One module per flow, named as the flow."""
