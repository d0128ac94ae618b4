"""Draw the README's people and dogs, from a run of the preset dogpeople with a fitted prior.

Only pictures made by the model go to ``docs/pictures``, as the photos of the data set may not be published.
A sheet with the originals, to judge by, stays in the run folder::

    elboroom fit-prior runs/dogpeople
    python docs/draw_dogpeople.py runs/dogpeople
"""

import sys
from pathlib import Path

import numpy as np

import elboroom
from elboroom.figures import by_class, morphs, style
from elboroom.figures.grids import ImageGrid, stack
from elboroom.io.files import write_atomic
from elboroom.latent.arrays import seeded
from elboroom.latent.paths import linear
from elboroom.models.fitted_prior import read_fitted

PICTURES = Path(__file__).parent / "pictures"
# Pairs of the animation, as places among the held-out people and dogs.
PAIRS = ((2, 1), (1, 7), (4, 5))

run = elboroom.Run(sys.argv[1])
data = elboroom.load_data(run.config.data.source or sys.exit("the run names no data"))
vae = run.model()
drawing = vae.with_prior(read_fitted(run.path, vae).density)
held_out = data.indices("test")
people, dogs = (held_out[data.labels[held_out] == label] for label in (0, 1))

sheet = by_class.transformation(vae, data, 0, 1, n=6, originals=False, steps=11)
write_atomic(PICTURES / "people-to-dogs.png", style.to_png(sheet))

codes = vae.embed(data.values(np.concatenate([people[:24], dogs[:24]])))
paths = [linear(codes[person], codes[24 + dog], 16) for person, dog in PAIRS]
morphs.save_gif(morphs.path_frames(vae, *paths), PICTURES / "people-to-dogs.gif", size=400)

rebuilt = vae.reconstruct(data.values(held_out)).clamp(0, 1).numpy()
place = {row: number for number, row in enumerate(held_out)}
chosen = [place[row] for row in (*people[:12], *dogs[:12])]
title = "People and dogs that the model has not seen in training, rebuilt from 256 numbers each"
write_atomic(
    PICTURES / "dogpeople-reconstructions.png",
    style.to_png(stack(ImageGrid(rebuilt[chosen], 12), title=title)),
)
with seeded(vae, 0):
    drawn = drawing.sample(24).clamp(0, 1).numpy()
title = "Draws: codes from the fitted prior, decoded"
write_atomic(PICTURES / "dogpeople-draws.png", style.to_png(stack(ImageGrid(drawn, 12), title=title)))

both = by_class.reconstructions_by_class(vae, data, n=12)
write_atomic(run.path / "figures" / "held-out.png", style.to_png(both))
