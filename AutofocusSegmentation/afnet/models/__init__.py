"""What a model is, where models lie, and how they come and go. `manifest.py` is where to begin."""
