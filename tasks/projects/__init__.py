"""Projects: registering images, ingesting files, generating more of them."""
