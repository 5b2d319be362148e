"""Fine-tuning a model on a user's own cases: `run.py` is the whole job, top to bottom."""
