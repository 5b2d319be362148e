"""Where do the nodes of the scene lie, what is each, and which are ours?"""
