"""The door to the engine: what must be installed, the job folder, the request, the child process and what it says."""
