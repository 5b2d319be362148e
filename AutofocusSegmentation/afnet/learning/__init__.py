"""How a network learns: cases, augmentation, losses, the training loop.

For the bundled weights and fine-tuning alike.
"""
