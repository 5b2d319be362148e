"""What the network sees of images: the working grid, resampling, intensities, the patient, and doubts about them."""
