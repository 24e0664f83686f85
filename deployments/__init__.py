"""How flows are started: the `visionflows` command and the local environment of Prefect."""
