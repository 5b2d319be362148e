"""Attention maps: asked of the engine, brought into the scene, shown, measured, removed."""
