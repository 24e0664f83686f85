"""`visionflows run`: one module per flow, and how a flow is run here or elsewhere."""
