"""Compare the test ELBO of elboroom and Pythae 0.1.2 on MNIST, with the same networks, batches and epochs.

784-1000-2 and its mirror image, ReLU, Bernoulli, Adam 1e-3, batch 100, 20 epochs on all 60,000 images::

    pip install -c constraints.txt -e ".[bench]"
    python benchmarks/mnist_against_pythae.py --out benchmarks/results/mnist_against_pythae.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import elboroom
from elboroom.data.batches import Batches


def with_elboroom(data: elboroom.Dataset, epochs: int, seed: int, num_samples: int) -> dict[str, Any]:
    """Train and evaluate elboroom's VAE."""
    torch.manual_seed(seed)
    vae = elboroom.VAE.build(shape=data.shape, latent_dim=2, hidden=[1000], activation="relu")
    started = time.perf_counter()
    elboroom.fit(vae, data, epochs=epochs, batch_size=100, lr=1e-3, seed=seed, quiet=True)
    seconds = time.perf_counter() - started
    batches = Batches(data, torch.device("cpu"))
    measured = elboroom.evaluate(vae, batches, data.indices("test"), num_samples=num_samples, seed=seed)
    return {"program": "elboroom", "seed": seed, "train_seconds": seconds, **measured}


def with_pythae(data: elboroom.Dataset, epochs: int, seed: int) -> dict[str, Any]:
    """Train Pythae's VAE by its own trainer, with networks of the same sizes, and measure its own loss."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(784, 1000), nn.ReLU())
            self.mean, self.log_variance = nn.Linear(1000, 2), nn.Linear(1000, 2)

        def forward(self, x: torch.Tensor) -> Any:
            hidden = self.hidden(x)
            return ModelOutput(embedding=self.mean(hidden), log_covariance=self.log_variance(hidden))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 1000), nn.ReLU(), nn.Linear(1000, 784), nn.Sigmoid())

        def forward(self, z: torch.Tensor) -> Any:
            return ModelOutput(reconstruction=self.net(z).reshape(-1, 1, 28, 28))

    def images(part: Any) -> torch.Tensor:
        return torch.from_numpy(data.values(data.indices(part))).permute(0, 3, 1, 2).contiguous()

    torch.manual_seed(seed)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=2, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    train = images("train")
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            learning_rate=1e-3,
            per_device_train_batch_size=100,
            no_cuda=True,
            seed=seed,
        )
        trainer = BaseTrainer(model, BaseDataset(train, torch.zeros(len(train))), training_config=settings)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    model.eval()
    losses = []
    with torch.no_grad():
        torch.manual_seed(seed)
        for batch in images("test").split(500):
            output = model({"data": batch})
            losses.append([output.recon_loss.item(), output.reg_loss.item()])
    distortion, rate = np.mean(losses, 0).tolist()
    measured = {"elbo": -(distortion + rate), "distortion": distortion, "rate": rate}
    return {"program": "Pythae 0.1.2", "seed": seed, "train_seconds": seconds, **measured}


def main() -> None:
    """Train both for each seed; print and write the results."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--num-samples", type=int, default=1000)
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    data = elboroom.load_data("mnist")
    rows = []
    for seed in range(chosen.seeds):
        for row in (
            with_elboroom(data, chosen.epochs, seed, chosen.num_samples),
            with_pythae(data, chosen.epochs, seed),
        ):
            rows.append(row)
            print(json.dumps(row), flush=True)
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(
            json.dumps({"epochs": chosen.epochs, "torch": torch.__version__, "rows": rows}, indent=2)
        )


if __name__ == "__main__":
    main()
