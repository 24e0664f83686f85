"""What a session of image generation promised, and what its folder holds."""
