"""``elboroom reconstruct``: images encoded and decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from elboroom.cli.options import Folder, Images, ImageVerb, Positional, Refine
from elboroom.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Reconstruct(ImageVerb):
    """Encode and decode images. Writes each reconstruction, and a sheet with all originals.

    Of rows of a mixed table, it writes the sheet and reconstruct.csv.
    """

    images: Positional[Images]
    refine: Refine = 0
    out: Folder = None

    def __call__(self) -> None:
        """Write the pictures, and print the loss of each image.

        Raises
        ------
        UsageError
            If no image is named.
        """
        if not self.images:
            raise UsageError("no image given: name image files, or examples as SET:INDEX, such as mnist:7")
        import numpy as np

        from elboroom.cli.console import print_result
        from elboroom.cli.inputs.examples import distinct_stems, read_example
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.outputs import free_files, save_figure, save_image, wrote
        from elboroom.data.table_write import write_table
        from elboroom.evaluation.health import check_finite
        from elboroom.figures import by_class, grids
        from elboroom.latent.arrays import loss_of_images, losses_with_errors, numbers, with_error
        from elboroom.latent.targets import refine
        from elboroom.models.conditioning import apart, together
        from elboroom.runs.run import Run

        run = Run(self.run)
        vae = load_model(run, self.device)
        read = [read_example(name, vae, run, prepare=self.prepare, label=self.label) for name in self.images]
        examples = together(read)
        codes = refine(vae, examples, steps=self.refine) if self.refine else None
        condition = apart(examples)[1]
        decoded = numbers(vae.reconstruct(examples) if codes is None else vae.decode(codes, condition).mean)
        names = distinct_stems(self.images)
        folder, pictured = self.out or run.path / "figures", names if len(vae.shape) == 3 else []
        places = [*(folder / f"{name}-reconstruction.png" for name in pictured), folder / "reconstruct.png"]
        table = () if vae.config is None else vae.config.columns
        if table:
            places.insert(0, folder / "reconstruct.csv")
        *each, sheet = free_files(places, named=self.out is not None, overwrite=self.overwrite)
        if table:
            which = {"example": names * 2, "is": ["given"] * len(names) + ["reconstructed"] * len(names)}
            write_table(each[0], table, np.concatenate([numbers(examples), decoded]), which)
            wrote(each[0])
        for place, image in zip(each[bool(table) :], grids.images_of(vae, decoded), strict=False):
            save_image(grids.to_uint8(image), place)
        save_figure(by_class.friends(vae, examples, [Path(name).name for name in self.images], codes), sheet)
        losses, errors = losses_with_errors(vae, examples)
        squared = np.square(decoded - numbers(examples)).reshape(len(names), -1).mean(1)
        for name, loss, error, mse in zip(names, losses, errors, squared, strict=True):
            # Cells of different columns have no squared error in common.
            also = "" if table else f", mean squared error {mse:.5f}"
            print_result(f"{name}: loss {with_error(loss, error)} nats ({loss_of_images(vae)}){also}")
        check_finite({"losses": losses}, str(run.path))
