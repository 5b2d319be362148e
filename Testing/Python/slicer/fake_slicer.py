"""A stand-in for Slicer's process, run as `python fake_slicer.py TEMPORARY_FOLDER PROGRAM REQUEST PYTHON...`.

It makes a job folder, runs the engine in it and prints what it hears as JSON lines, until it is killed. The
request is the JSON of a SegmentRequest's fields; files it names by absolute path are the engine's to read.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "AutofocusSegmentation"))

from fake_engine import folder_for_a_run

from AutofocusSegmentationLib.engine.child import ChildProcess
from AutofocusSegmentationLib.engine.request import SegmentRequest

temporary_folder, program, request, *python = sys.argv[1:]
with folder_for_a_run(temporary_folder) as folder:
    engine = ChildProcess(python, program)
    engine.start(SegmentRequest(**json.loads(request)), folder.path)
    print(json.dumps({"launcher": engine._process.pid}), flush=True)
    while engine.running:
        for event in engine.poll():
            print(json.dumps(vars(event)), flush=True)
        time.sleep(0.02)
    print(json.dumps(vars(engine.outcome)), flush=True)
