"""All verbs of the command line. To add one, write its class in ``commands/`` and add a row here."""

from __future__ import annotations

from elboroom.cli.commands.compare import Compare
from elboroom.cli.commands.completion import Completion
from elboroom.cli.commands.data_annotate import DataAnnotate
from elboroom.cli.commands.data_faces import DataFaces
from elboroom.cli.commands.data_import_haskell import DataImportHaskell
from elboroom.cli.commands.data_join import DataJoin
from elboroom.cli.commands.data_list import DataList
from elboroom.cli.commands.data_show import DataShow
from elboroom.cli.commands.diagnose import Diagnose
from elboroom.cli.commands.doctor import Doctor
from elboroom.cli.commands.embed import Embed
from elboroom.cli.commands.evaluate import Evaluate
from elboroom.cli.commands.explore import Explore
from elboroom.cli.commands.export import Export
from elboroom.cli.commands.figures import Figures
from elboroom.cli.commands.fit_prior import FitPrior
from elboroom.cli.commands.import_diffusers import ImportDiffusers
from elboroom.cli.commands.impute import Impute
from elboroom.cli.commands.morph import Morph
from elboroom.cli.commands.neighbours import Neighbours
from elboroom.cli.commands.push import Push
from elboroom.cli.commands.recipes import Recipes
from elboroom.cli.commands.reconstruct import Reconstruct
from elboroom.cli.commands.report import Report
from elboroom.cli.commands.reproduce import Reproduce
from elboroom.cli.commands.resume import Resume
from elboroom.cli.commands.sample import Sample
from elboroom.cli.commands.score import Score
from elboroom.cli.commands.track import Track
from elboroom.cli.commands.train import Train
from elboroom.cli.commands.traverse import Traverse
from elboroom.cli.options import Verb

VERBS: dict[str, type[Verb]] = {
    "train": Train,
    "recipes": Recipes,
    "resume": Resume,
    "evaluate": Evaluate,
    "doctor": Doctor,
    "compare": Compare,
    "reproduce": Reproduce,
    "track": Track,
    "push": Push,
    "report": Report,
    "figures": Figures,
    "explore": Explore,
    "reconstruct": Reconstruct,
    "diagnose": Diagnose,
    "fit-prior": FitPrior,
    "sample": Sample,
    "morph": Morph,
    "neighbours": Neighbours,
    "traverse": Traverse,
    "embed": Embed,
    "impute": Impute,
    "score": Score,
    "export": Export,
    "import-diffusers": ImportDiffusers,
    "data list": DataList,
    "data show": DataShow,
    "data annotate": DataAnnotate,
    "data faces": DataFaces,
    "data join": DataJoin,
    "data import-haskell": DataImportHaskell,
    "completion": Completion,
}

Completion.verbs = VERBS  # this module imports the commands, so that none of them may import it
