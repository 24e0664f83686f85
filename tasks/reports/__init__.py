"""Tables and pages for people, rendered for Prefect, for a browser and for a terminal."""
