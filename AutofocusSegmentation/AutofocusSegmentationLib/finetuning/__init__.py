"""Fine-tuning from the scene: cases, their export, the run, and what came of it."""
