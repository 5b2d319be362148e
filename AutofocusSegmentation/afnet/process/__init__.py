"""The child as a process: what it says on its pipes, whom it belongs to, and when it must end."""
