"""The studies of ``story.md``: each trains small models, and returns a figure and the numbers in it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from sklearn.neighbors import KNeighborsClassifier
from story_charts import draw_bars, draw_lines, draw_points, labelled, network, panels, two_maps
from story_faults import why
from story_models import (
    FACES,
    by_class,
    contrast,
    digits,
    errors,
    faces,
    fine_share,
    moved,
    some,
    trained,
    unexplained,
)

import elboroom
from elboroom.figures.grids import ImageGrid, stack
from elboroom.figures.images import best_and_worst
from elboroom.latent.arrays import codes_of
from elboroom.latent.paths import linear

Found = tuple[dict[str, Figure], dict[str, Any]]


def drawing() -> Found:
    """The network of the Haskell program."""
    vae = elboroom.VAE.build(shape=(28, 28, 1), latent_dim=2, hidden=[1000], activation="tanh")
    return {"network": network(vae, "The network of the Haskell program on MNIST: 784-1000-2 and back")}, {}


def maps() -> Found:
    """β = 0 beside β = 1: codes, and what the decoder makes of draws from the prior."""
    data, found, models = digits(), {}, {}
    test, train = data.indices("test"), data.indices("train")
    for beta in (0, 1):
        vae, _ = trained(data, 1500, model={"latent_dim": 2}, beta=beta)
        codes, known = codes_of(vae, data.values(test)), codes_of(vae, data.values(train))
        nearest = KNeighborsClassifier(10).fit(known, data.labels[train])
        evaluated = by_class(vae, data)
        counts = np.array(evaluated.counts)
        found[f"beta {beta}"] = {
            "standard deviation of codes": codes.std(0),
            "squared error": errors(vae, data.values(test)).mean(),
            "rate": counts @ evaluated.measures["rate"] / counts.sum(),
            "distortion": counts @ evaluated.measures["distortion"] / counts.sum(),
            "classes told by 10 neighbours": nearest.score(codes, data.labels[test]),
            "codes within the circle": (np.square(codes).sum(1) < -2 * np.log(0.05)).mean(),
        }
        models[f"β = {beta}"] = vae
    title = "Codes of 2,000 test digits; the models differ in β alone, and the circle holds 95 % of N(0, I)"
    draws = [vae.sample(12).clamp(0, 1).numpy() for vae in models.values()]
    sheet = ImageGrid(np.concatenate(draws), 12, row_labels=list(models))
    pictures = {
        "maps": two_maps(models, data, title),
        "draws": stack(sheet, title="Draws from N(0, I), decoded"),
    }
    return pictures, found


def extremes() -> Found:
    """Why the best and the worst are so: error against contrast, fine detail and class."""
    vae, _ = trained(digits(), 1500, model={"latent_dim": 8})
    pictures = {
        "best-and-worst": best_and_worst(vae, digits().values(digits().indices("test")), 8, noun="digits")
    }
    data = faces()
    vae, _ = trained(data, 1500, model={"latent_dim": 32, **FACES})
    test = data.indices("test")
    x, labels = data.values(test), data.labels[test]
    error, bright, fine = errors(vae, x), contrast(x), fine_share(x)
    figure, axes = panels("Squared error of 960 held-out faces against two properties of the photo", 2)
    names = (
        "contrast: standard deviation of the pixels",
        "share of variance in the upper half of frequencies",
    )
    for one, values, name in zip(axes, (bright, fine), names, strict=True):
        labelled(one, "", name, "squared error per pixel", yscale="log")
        draw_points(one, values, error, labels, ("people", "dogs"))
    axes[1].set_xscale("log")
    logs = np.stack([np.log(bright), np.log(fine), labels.astype(float)], 1)
    design = np.column_stack([logs, np.ones(len(logs))])
    explained = {}
    for name, columns in {"contrast": [0], "contrast, fine detail": [0, 1], "and class": [0, 1, 2]}.items():
        used = design[:, [*columns, 3]]
        rest = np.log(error) - used @ np.linalg.lstsq(used, np.log(error), rcond=None)[0]
        explained[name] = 1 - rest.var() / np.log(error).var()
    found = {
        "rank correlation with contrast": spearmanr(error, bright).statistic,
        "rank correlation with fine share": spearmanr(error, fine).statistic,
        "of error over variance with contrast": spearmanr(error / bright**2, bright).statistic,
        "of error over variance with fine share": spearmanr(error / bright**2, fine).statistic,
        "squared error": {"people": error[labels == 0].mean(), "dogs": error[labels == 1].mean()},
        "share of the variance of log error explained": explained,
    }
    return {**pictures, "extremes": figure}, found


def dominance() -> Found:
    """Which class gets the better of the other, over latent size and seeds."""
    sizes, seeds = (1, 2, 4, 8, 16, 32), (0, 1, 2)
    seen: dict[str, list[list[float]]] = {"people": [], "dogs": []}
    ratio = []
    for size in sizes:
        reports = []
        for seed in seeds:
            data = some(faces(), 3000, seed)
            vae, _ = trained(data, 450, seed=seed, model={"latent_dim": size, **FACES})
            reports.append(by_class(vae, data))
        for i, name in enumerate(seen):
            seen[name].append([one.seen_as["reconstructions"][i, 1 - i] for one in reports])
        ratio.append([one.measures["mse"][1] / one.measures["mse"][0] for one in reports])
    originals = [one.seen_as["originals"][i, 1 - i] for i, one in enumerate(2 * [reports[0]])]
    found = {"latent sizes": sizes, "seeds": seeds, "rebuilt as the other": seen, "error ratio": ratio}
    found["originals nearer to the other"] = originals
    return {"dominance": dominance_figure(found)}, found


def dominance_figure(found: dict[str, Any]) -> Figure:
    """Draw what `dominance` found."""
    sizes = found["latent sizes"]
    figure, axes = panels("People and dogs in one latent space, three seeds each", 2)
    labelled(axes[0], "Rebuilt nearer to the other class", "latent dimensions", "share", xscale="log")
    draw_lines(axes[0], {name: (sizes, values) for name, values in found["rebuilt as the other"].items()})
    labelled(axes[1], "Squared error of dogs over that of people", "latent dimensions", "ratio", xscale="log")
    draw_lines(axes[1], {"dogs over people": (sizes, found["error ratio"])}, first=2)
    for one in axes:
        one.set_xticks(sizes, [str(size) for size in sizes])
        one.minorticks_off()
    return figure


def smoothness() -> Found:
    """How even the steps of a morph are, against β."""
    betas, data = (0, 0.1, 0.3, 1, 3, 10), some(digits(), 5000)
    rng, test = np.random.default_rng(0), data.indices("test")
    starts, ends = rng.permutation(test)[:100], rng.permutation(test)[:100]
    even, length, error, rows = [], [], [], []
    pair = [test[data.labels[test] == label][0] for label in (1, 7)]
    for beta in betas:
        vae, _ = trained(data, 750, model={"latent_dim": 8}, beta=beta)
        a, b = vae.embed(data.values(starts)), vae.embed(data.values(ends))
        frames = [vae.decode(linear(*ends_of, 33)).mean.numpy() for ends_of in zip(a, b, strict=True)]
        steps = np.stack([np.sqrt(np.square(np.diff(one, axis=0)).sum((1, 2, 3))) for one in frames])
        direct = np.array([np.sqrt(np.square(one[-1] - one[0]).sum()) for one in frames])
        even.append((steps.max(1) / steps.mean(1)).mean())
        length.append((steps.sum(1) / direct).mean())
        error.append(errors(vae, data.values(test)).mean())
        path = linear(*vae.embed(data.values(np.array(pair))), 13)
        rows.append(vae.decode(path).mean.clamp(0, 1).numpy())
    sheet = ImageGrid(np.concatenate(rows), 13, row_labels=[f"β = {beta:g}" for beta in betas])
    figure, axes = panels(
        "Morphs between 100 pairs of test digits, 32 steps each, 8 latent dimensions", 3, 330
    )
    at, names = range(len(betas)), [f"{beta:g}" for beta in betas]
    titles = ("Largest step over mean step", "Length over direct distance", "Squared error per pixel")
    for one, title, values in zip(axes, titles, (even, length, error), strict=True):
        labelled(one, title, "β", "")
        one.plot(at, values, "-o", color="#0072B2", markersize=4)
        one.set_xticks(at, names)
    found = {"betas": betas, "largest over mean step": even, "length over distance": length}
    strips = {"morphs": stack(sheet, title="The same two test digits: the path between their codes, decoded")}
    return {**strips, "smoothness": figure}, {**found, "squared error": error}


def amount() -> Found:
    """Error against the amount of data, with faces aligned and moved at random."""
    amounts, whole = (125, 500, 2000, 8000), faces()
    sets = {
        "aligned": whole,
        "moved at random": elboroom.Dataset(
            "moved", moved(whole.x), whole.split, whole.labels, whole.label_names, scale=255
        ),
    }
    found: dict[str, Any] = {"amounts": amounts}
    for name, data in sets.items():
        test = data.values(data.indices("test"))
        ended = []
        for n in amounts:
            used = some(data, n)
            vae, _ = trained(used, 600, model={"latent_dim": 32, **FACES})
            train = used.values(used.indices("train")[:1000])
            ended.append([unexplained(vae, part) for part in (train, test)])
        found[name] = {"training": [one[0] for one in ended], "held out": [one[1] for one in ended]}
    return {"amount": amount_figure(found)}, found


def amount_figure(found: dict[str, Any]) -> Figure:
    """Draw what `amount` found."""
    amounts = found["amounts"]
    figure, axes = panels("600 steps each, whatever the amount of data; 32 latent dimensions", 2)
    for one, name in zip(axes, ("aligned", "moved at random"), strict=True):
        labelled(one, f"Faces {name}", "training photos", "error over variance", xscale="log", ylim=(0, 0.8))
        draw_lines(one, {part: (amounts, values) for part, values in found[name].items()})
        one.set_xticks(amounts, [f"{n:,}" for n in amounts])
        one.minorticks_off()
    return figure


def schedules() -> Found:
    """Schedules of β beside each other."""
    ways: dict[str, dict[str, Any]] = {
        "constant": {},
        "linear": {"beta_ramp": 15},
        "delayed": {"beta_delay": 5, "beta_ramp": 10},
        "sigmoid": {"beta_delay": 0, "beta_ramp": 15},
        "cyclical": {"beta_ramp": 5, "beta_period": 10},
    }
    data, found, drawn = some(digits(), 3000), {}, {}
    for name, options in ways.items():
        vae, history = trained(data, 900, model={"latent_dim": 16}, beta_schedule=name, **options)
        report = by_class(vae, data)
        drawn[name], counts = history, np.array(report.counts)
        found[name] = {part: counts @ report.measures[part] / counts.sum() for part in ("distortion", "rate")}
    figure, axes = panels("Schedules of β: 3,000 digits, 30 epochs, 16 latent dimensions", 3, 400)
    for one, column, unit in zip(axes, ("beta", "rate", "distortion"), ("", "nats", "nats"), strict=True):
        labelled(one, {"beta": "β"}.get(column, column.capitalize()), "epoch", unit)
        for i, (name, history) in enumerate(drawn.items()):
            shown = [row[column] for row in history], [row["epoch"] for row in history]
            one.plot(shown[1], shown[0], color=elboroom.figures.style.PALETTE[i], linewidth=1.5, label=name)
    axes[0].legend(frameon=False, fontsize=8)
    axes[2].set_ylim(top=np.percentile([row["distortion"] for row in drawn["constant"]], 90))
    return {"schedules": figure}, found


def friends() -> Found:
    """Training with the friends in it: on them, on other photos of their kind, and on held-out faces."""
    data, rng = faces(), np.random.default_rng(0)
    people = rng.permutation(data.indices("test")[data.labels[data.indices("test")] == 0])
    mine = (moved(data.x[people[:40]], seed=1) * 0.6).astype(np.uint8)  # dark, and not quite aligned
    base = some(data, 4000)
    rest = {
        "friends": mine[:20],
        "others of their kind": mine[20:],
        "held-out people": data.x[people[40:]],
    }
    found: dict[str, dict[str, float]] = {}
    for name, copies in {"without": 0, "each once": 1, "each 20 times": 20}.items():
        x = np.concatenate([base.x, *[mine[:20]] * copies])
        split = np.concatenate([base.split, np.zeros(20 * copies, np.uint8)])
        labels = np.concatenate([base.labels, np.zeros(20 * copies, np.int64)])
        with_them = elboroom.Dataset("faces", x, split, labels, data.label_names, scale=255)
        vae, _ = trained(with_them, 1500, model={"latent_dim": 32, **FACES})
        found[name] = {}
        for kind, images in rest.items():
            found[name][kind] = unexplained(vae, images.astype(np.float32) / 255)
    figure, (axes,) = panels("Training with 20 friends in it: 4,000 faces and 1,500 steps each", 1, 760)
    labelled(axes, "", "", "error over variance")
    bars = {name: list(values.values()) for name, values in found.items()}
    draw_bars(axes, bars, [*rest])
    return {"friends": figure}, found


STUDIES: dict[str, Callable[[], Found]] = {
    "drawing": drawing,
    "maps": maps,
    "extremes": extremes,
    "dominance": dominance,
    "smoothness": smoothness,
    "amount": amount,
    "schedules": schedules,
    "friends": friends,
    "why": why,
}
"""Each by its name."""
