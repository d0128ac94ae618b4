"""``elboroom import-diffusers``: a folder of diffusers' AutoencoderKL as a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from elboroom.cli.options import DATA, Positional, Verb
from elboroom.config.options import Option


@dataclass(frozen=True, kw_only=True)
class ImportDiffusers(Verb):
    """Make a run of an AutoencoderKL that diffusers saved. Nothing is trained, and diffusers is not needed.

    All commands work on the run. 'elboroom train DATA --start-from RUN' trains it further, and
    'elboroom export RUN --to diffusers' writes such a folder again.
    """

    folder: Annotated[
        Positional[Path],
        Option(metavar="FOLDER", help="Folder with config.json and diffusion_pytorch_model.safetensors."),
    ]
    out: Annotated[Path, Option(help="Folder for the run.")]
    data: Annotated[
        str | None,
        Option(metavar=DATA.metavar, help="Data that belong to the run, by which it is evaluated and drawn."),
    ] = None
    shape: Annotated[
        tuple[int, ...] | None,
        Option(help="Shape of one image, such as 64 64 3. Default: that of --data, or else the folder's."),
    ] = None
    overwrite: Annotated[bool, Option(help="Replace an existing run in --out.")] = False

    def __call__(self) -> None:
        """Write the run folder."""
        from elboroom.cli.console import console, shown
        from elboroom.cli.inputs.run_data import read_data
        from elboroom.config import Config
        from elboroom.data import full_name
        from elboroom.errors import UsageError
        from elboroom.io.files import json_text, write_atomic
        from elboroom.runs import write_status
        from elboroom.runs.diffusers_folder import KEPT, import_diffusers
        from elboroom.runs.run import Run, check_free
        from elboroom.training.prepare import preparation_of, prepare

        check_free(self.out, overwrite=self.overwrite)
        data = None if self.data is None else read_data(Config().updated(source=full_name(self.data)))
        if data is not None and self.shape not in (None, data.shape):
            raise UsageError(f"--shape {self.shape}: the examples of {data.name} have shape {data.shape}")
        vae, config, kept = import_diffusers(self.folder, self.shape if data is None else data.shape)
        if data is not None:
            config = config.updated(source=full_name(self.data or "")).merged(
                {"model": {"scale": data.scale}}
            )
        run = Run.create(self.out, config, overwrite=self.overwrite)
        run.write_model(vae)
        run.write_environment(imported_from=str(self.folder))
        if data is not None:
            run.write_preparation(preparation_of(prepare(data, config)))
        write_atomic(run.path / KEPT, json_text(kept, indent=2) + "\n")
        write_status(run.path, "trained")
        say, model = console(), config.model
        say.print(
            f"AutoencoderKL of {'-'.join(map(str, model.block_channels))} channels for images of "
            f"{'×'.join(map(str, vae.shape))}, code {'×'.join(map(str, vae.latent_shape))}, scaling_factor "
            f"{kept['scaling_factor']:g}"
        )
        spread = f"{model.likelihood_scale:.4f}"
        say.print(
            f"likelihood gaussian with standard deviation {spread} (the folder has none): the "
            f"loss is the mean squared error of pixels from -1 to 1 plus 1e-06 · KL, which is "
            f"beta {config.objective.beta:.4g} beside a distortion in nats"
        )
        say.print(f"run      {shown(run.path)}")
        say.print(f"next     elboroom train DATA --start-from {shown(run.path)} --out runs/finer")
