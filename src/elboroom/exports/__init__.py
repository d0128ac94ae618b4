"""Models for other programs: encoder and decoder as ONNX or PyTorch programs, without elboroom.

>>> from elboroom.exports import TARGETS
>>> list(TARGETS)
['onnx', 'pt2', 'diffusers']
"""

from elboroom.exports.exporting import export as export
from elboroom.exports.targets import TARGETS as TARGETS
