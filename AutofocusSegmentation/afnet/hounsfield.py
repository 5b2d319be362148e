"""Values in Hounsfield units (HU) that more than one question needs."""

AIR = -1000.0
"""HU of air, given to all that lies outside a scan; scanners' padding (−1024, −2000, −3024) is raised to it."""

BODY_THRESHOLD = -300.0
"""HU between air and skin."""

FAT = -50.0
"""HU that fat, and with it any body, goes below; MR intensities and CT without its rescale intercept do not."""

DENSEST_BONE = 2500.0
"""HU that cortical bone stays below; teeth, contrast and metal do not."""

SOFT_TISSUE = (-200.0, 250.0)
"""HU range that holds most of any body: fat, muscle, organs."""

HIGHEST_HU = 32767
"""The largest value of a 16-bit CT: as an upper limit, none."""
