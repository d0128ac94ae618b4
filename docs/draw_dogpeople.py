"""Draw the README's morphs from people to dogs, from a run of the dogpeople preset.

Only pictures made by the model are shown, as the photos of the data set may not be published::

    python docs/draw_dogpeople.py runs/dogpeople
"""

import sys
from pathlib import Path

import elboroom
from elboroom.figures import by_class, style
from elboroom.io.files import write_atomic

run = elboroom.Run(sys.argv[1])
data = elboroom.load_data(run.config.data.source or sys.exit("the run names no data"))
figure = by_class.transformation(run.model(), data, 0, 1, n=6, originals=False, steps=11)
write_atomic(Path(__file__).parent / "pictures" / "people-to-dogs.png", style.to_png(figure))
