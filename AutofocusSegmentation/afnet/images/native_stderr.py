"""Silence for the C++ libraries under SimpleITK, so that stderr holds our own sentences alone."""

import contextlib
import os
import sys

import SimpleITK as sitk


@contextlib.contextmanager
def native_stderr_closed():
    """Turn the process's stderr to the null device meanwhile.

    ITK, GDCM, MetaIO, VNL and the NIfTI library write there from C++, past Python's sys.stderr, and only some of it
    obeys ITK's own switch. Nothing else may be written to stderr meanwhile, by any thread.
    """
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # the process has no stderr, as under pythonw
        yield
        return
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
