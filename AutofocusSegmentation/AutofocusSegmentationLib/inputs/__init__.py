"""Which volume is which input of a model, is it fit, and how does it get to the engine?"""
