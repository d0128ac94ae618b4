import numpy as np
import pytest
from PIL import Image

from elboroom.data.faces.geometry import (
    PARTS,
    TEMPLATES,
    apply,
    cut,
    fit_face,
    inverted,
    nearest_template,
    outside,
    placed,
    similarity,
)


def known(angle, scale, shift):
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[a, -b, shift[0]], [b, a, shift[1]]])


@pytest.mark.parametrize("count", [2, 3, 4, 9])
def test_exact_transforms_are_recovered(count):
    rng = np.random.default_rng(count)
    for _ in range(20):
        wanted = known(rng.uniform(-np.pi, np.pi), rng.uniform(0.01, 50), rng.normal(0, 100, 2))
        source = rng.normal(0, 30, (count, 2))
        # Rounding only: coordinates of some hundred, a scale of up to 50.
        np.testing.assert_allclose(similarity(source, apply(wanted, source)), wanted, rtol=1e-9, atol=1e-9)


def test_no_neighbour_fits_noisy_points_better():
    rng = np.random.default_rng(0)
    source, target = rng.normal(0, 30, (4, 2)), rng.normal(0, 30, (4, 2))

    def loss(a, b, x, y):
        return ((apply(np.array([[a, -b, x], [b, a, y]]), source) - target) ** 2).sum()

    best = similarity(source, target)
    parameters = np.array([best[0, 0], best[1, 0], *best[:, 2]])
    least = loss(*parameters)
    for _ in range(500):
        assert loss(*(parameters + rng.normal(0, 1, 4) * 10.0 ** rng.uniform(-5, 0))) > least
    # The loss is quadratic, so the normal equations give the same answer by another road.
    rows = np.concatenate(
        [
            np.column_stack([source[:, 0], -source[:, 1], np.ones(4), np.zeros(4)]),
            np.column_stack([source[:, 1], source[:, 0], np.zeros(4), np.ones(4)]),
        ]
    )
    solved, *_ = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)
    np.testing.assert_allclose(parameters, solved, rtol=1e-9)


def test_a_mirror_image_is_never_the_answer():
    source = np.array([[0.0, 0], [1, 0], [0, 1]])
    assert np.linalg.det(similarity(source, source * [-1, 1])[:, :2]) > 0


@pytest.mark.parametrize("points", [[[1, 1]], [[5, 5], [5, 5]], [[1e6, 1e6]] * 3])
def test_points_in_one_place_say_nothing(points):
    with pytest.raises(ValueError, match=r"landmark"):
        similarity(np.array(points, float), np.zeros((len(points), 2)))


def test_inverse_undoes():
    transform = known(0.7, 2.5, (30, -4))
    points = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(apply(inverted(transform), apply(transform, points)), points, atol=1e-12)


@pytest.mark.parametrize("size", [(64, 64), (48, 64), (96, 64)])
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_face_at_the_template_stays_where_it_is(size, template):
    transform = fit_face(placed(template, size), template, size)
    np.testing.assert_allclose(transform, [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_other_shapes_hold_the_square_in_their_middle():
    assert placed("person", (64, 100))["left_eye"] == pytest.approx((18 + 0.291 * 64, 0.286 * 64))
    assert placed("person", (100, 64))["left_eye"] == pytest.approx((0.291 * 64, 18 + 0.286 * 64))


def test_eyes_alone_are_enough_and_exact():
    points = {"left_eye": (10.0, 50.0), "right_eye": (10.0, 90.0)}
    transform = fit_face(points, "person", (64, 64))
    wanted = placed("person", (64, 64))
    for part, place in points.items():
        np.testing.assert_allclose(apply(transform, np.array([place]))[0], wanted[part])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"left_eye": (40, 20), "right_eye": (20, 20)}, "swapped"),
        ({"nose": (31, 18.5)}, "on the line of its eyes"),
        ({"right_eye": (20, 18), "left_eye": (19, 18)}, "too close"),
        ({"nose": (31, 150), "mouth": (31, 180)}, "turned away"),
        ({"nose": (31, 22.5), "mouth": (31, 22.6)}, "seen from ahead"),
    ],
)
def test_impossible_faces_are_refused(change, reason):
    points = {**placed("person", (64, 64)), **change}
    with pytest.raises(ValueError, match=reason):
        fit_face(points, "person", (64, 64))


def test_missing_eyes_are_refused():
    with pytest.raises(ValueError, match="both eyes"):
        fit_face({"left_eye": (1, 2), "nose": (3, 4)}, "person", (64, 64))


def test_template_follows_from_the_depth_of_the_noses():
    person, dog = (placed(template, (90, 90)) for template in TEMPLATES)
    # 0.58 and 0.93 eye distances below the eyes; dogs that look down or up have 0.7 in the median.
    assert nearest_template([person, person, dog]) == "person"
    assert nearest_template([dog, person, dog]) == "dog"
    turned = {part: (-y, x) for part, (x, y) in dog.items()}
    assert nearest_template([turned]) == "dog"
    assert nearest_template([{k: dog[k] for k in PARTS[:2]}]) == "person"  # eyes alone do not tell
    assert nearest_template([]) == "person"


def test_share_outside_the_photo():
    same = np.array([[1.0, 0, 0], [0, 1, 0]])
    assert outside(same, (64, 64), (64, 64)) == 0
    assert outside(same, (64, 32), (64, 64)) == 0.5
    assert outside(same, (32, 32), (64, 64)) == 0.75
    assert outside(known(0, 1, (500, 0)), (64, 64), (64, 64)) == 1


def test_cut_without_a_move_is_the_photo():
    smooth = np.add.outer(np.arange(32) * 3, np.arange(40) * 2).astype(np.uint8)
    crop = cut(Image.fromarray(smooth), np.array([[1.0, 0, 0], [0, 1, 0]]), (32, 40))
    # Enlarging twice and shrinking again keeps a ramp, but for its ends, to a rounding.
    assert np.abs(crop[3:-3, 3:-3, 0].astype(int) - smooth[3:-3, 3:-3]).max() <= 1


def test_cut_shrinks_without_aliasing():
    checks = ((np.indices((800, 800)).sum(axis=0) % 2) * 255).astype(np.uint8)
    crop = cut(Image.fromarray(checks), np.array([[0.08, 0, 0], [0, 0.08, 0]]), (64, 64))
    assert np.abs(crop.astype(int) - 127.5).max() < 3  # single pixels would be 0 and 255


def test_beyond_the_edges_is_no_black():
    photo = np.full((40, 40), 200, np.uint8)
    crop = cut(Image.fromarray(photo), known(0.3, 1, (20, 20)), (64, 64))
    assert (crop == 200).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_what_lies_within_the_photo_is_not_blurred(channels):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)[..., :channels].squeeze()
    shifted = known(0, 1, (-16, 0))
    whole = cut(Image.fromarray(np.pad(noise, ((0, 0), (0, 32), (0, 0))[: noise.ndim])), shifted, (64, 64))
    partly = cut(Image.fromarray(noise), shifted, (64, 64))
    # The same but for roundings.
    assert np.abs(whole[:, :40].astype(int) - partly[:, :40]).max() <= 1
    assert partly[:, 48:].std() < 0.8 * partly[:, :40].std()  # mirrored and blurred
