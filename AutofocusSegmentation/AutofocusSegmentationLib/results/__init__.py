"""What becomes of a run: how does what the engine left get into the scene?"""
