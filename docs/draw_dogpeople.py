"""Draw the README's people and dogs, from a run of the preset dogpeople with a fitted prior.

Only pictures made by the model go to ``docs/pictures``, as the photos of the data set may not be published.
A sheet with the originals, to judge by, stays in the run folder, with the numbers in ``pictures.json``::

    elboroom fit-prior runs/dogpeople
    python docs/draw_dogpeople.py runs/dogpeople
"""

import json
import sys
from pathlib import Path

import numpy as np

import elboroom
from elboroom.evaluation.picture_features import frechet, train_feature_net
from elboroom.evaluation.pictures import compare_pictures
from elboroom.figures import by_class, images, morphs, style
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
x = data.values(held_out)

sheet = by_class.transformation(vae, data, 0, 1, n=6, originals=False, steps=11)
write_atomic(PICTURES / "people-to-dogs.png", style.to_png(sheet))

codes = vae.embed(data.values(np.concatenate([people[:24], dogs[:24]])))
paths = [linear(codes[person], codes[24 + dog], 24) for person, dog in PAIRS]
morphs.save_gif(morphs.path_frames(vae, *paths), PICTURES / "people-to-dogs.gif", size=600)

rebuilt = vae.reconstruct(data.values(held_out)).clamp(0, 1).numpy()
place = {row: number for number, row in enumerate(held_out)}
chosen = [place[row] for row in (*people[:12], *dogs[:12])]
title = "People and dogs that the model has not seen in training, rebuilt from 256 numbers each"
write_atomic(
    PICTURES / "dogpeople-reconstructions.png",
    style.to_png(stack(ImageGrid(rebuilt[chosen], 12), title=title)),
)
title = "Draws: codes from the fitted prior, decoded"
write_atomic(PICTURES / "dogpeople-draws.png", style.to_png(images.samples(drawing, n=24, title=title)))

both = by_class.reconstructions_by_class(vae, data, n=12)
write_atomic(run.path / "figures" / "held-out.png", style.to_png(both))

training = data.indices("train")
net = train_feature_net(data.values(training), data.labels[training])
with seeded(vae, 0):
    draws = {
        name: model.sample(len(held_out)).clamp(0, 1).numpy()
        for name, model in (("draws_model_prior", vae), ("draws_fitted_prior", drawing))
    }
found = compare_pictures(x, rebuilt)
found |= {f"frechet_{name}": frechet(net, x, other) for name, other in {"rebuilt": rebuilt, **draws}.items()}
found["frechet_as_many_training_examples"] = frechet(net, x, data.values(training[: len(x)]))
write_atomic(
    run.path / "pictures.json",
    json.dumps({name: measure.as_json() for name, measure in found.items()}, indent=1),
)
for name, measure in found.items():
    print(f"{name:36s}{measure}")
