"""Projects, their images, what is ingested into them and how good the images are."""
