"""From files to images: which files are read, what their headers say, and what is refused with which sentence."""
