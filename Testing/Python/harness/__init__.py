"""What stands in for 3D Slicer's application when its window is not at hand.

PyPI's `slicer-core` brings Slicer's own C++ libraries (scene, volumes, segmentations, terminologies, views); this
package adds what the application puts around them. Importing it imports nothing heavy:

- `headless.start()`: scene, application logic, module logics, `slicer.app`, loading and saving;
- `vtk_errors`: VTK's errors, which Python does not see by itself;
- `offscreen_views`: slice and 3-D views drawn into arrays and PNG files;
- `qtshim.install()`: PySide6 with PythonQt's manners as `qt` and `ctk`, and stand-ins for CTK and qMRML widgets;
- `scripted_module.install(gui=...)`: the Python packages that Slicer's application ships and slicer-core lacks
  (`slicer.ScriptedLoadableModule`, `slicer.i18n`, `slicer.parameterNodeWrapper`), and `register_module`.

A test that passes here says 'wired', never 'works in Slicer's window'.
"""

from . import slicer_import

slicer_import.install()
