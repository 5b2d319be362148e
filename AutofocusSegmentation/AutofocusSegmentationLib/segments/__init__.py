"""What does a segmentation node hold, and what does it remember of its study?"""
