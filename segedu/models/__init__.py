"""Models that segment images, as their papers define them."""
