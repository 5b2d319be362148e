"""AFNet: autofocus segmentation of pelvic CT and brain MRI (Qin et al., MICCAI 2018).

`python -m afnet --help` lists the commands; `afnet.segmentation` is the main job, top to bottom.
Nothing is imported here, so that `import afnet` costs nothing.
"""

__version__ = "0.1.0"
