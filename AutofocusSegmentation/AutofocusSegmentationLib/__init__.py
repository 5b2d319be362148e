"""The Slicer side of AutofocusSegmentation: scene, job, child process, result, panels.

Rules of this package: it never imports torch, and of `afnet` only modules that do not either; modules outside `panels`
use no widgets. A variable `segmentation` is always the node (vtkMRMLSegmentationNode). This file imports nothing, so
that importing one module costs only that one.
"""
