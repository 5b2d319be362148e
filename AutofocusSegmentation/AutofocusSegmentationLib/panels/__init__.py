"""The parts of the module's window: one class and one .ui file each."""
