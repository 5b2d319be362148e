"""What do the views and charts show?"""
