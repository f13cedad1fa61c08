"""The judge's discriminants, what it looks at, and how its answers are ranked."""

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from training.generator.judge import Moments, ranks_of, views
from training.generator.judge_augment import augmented
from training.generator.judge_features import FEATURES, features_of


def three_classes() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(3, 6)) * 0.5
    labels = np.repeat([0, 1, 2], 400)
    spread = rng.normal(size=(6, 6))
    features = centres[labels] + rng.normal(size=(1200, 6)) @ spread
    return torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels)


def test_discriminants_agree_with_the_textbook() -> None:
    features, labels = three_classes()
    moments = Moments(3, 6)
    for start in range(0, len(features), 100):
        moments.add(features[start : start + 100], labels[start : start + 100])
    weights, biases, directions = moments.discriminants(0.0)
    book = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3).fit(features.numpy(), labels.numpy())
    ours = (features @ weights + biases).log_softmax(-1)
    assert np.allclose(ours.numpy(), book.predict_log_proba(features.numpy()), rtol=2e-3, atol=0.02)
    within = torch.cat([(features[labels == k] - features[labels == k].mean(0)) @ directions for k in range(3)])
    assert torch.allclose(within.T @ within / len(within), torch.eye(2), atol=0.01)


def disc(x: float, y: float, red: bool) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    inside = (rows - y) ** 2 + (columns - x) ** 2 < 20**2
    picture = torch.ones(1, 3, 64, 64)
    picture[:, 1:, inside] = 0.1
    return picture if red else picture.flip(1)


def test_features_bear_a_small_shift_and_tell_colours_and_shapes_apart() -> None:
    here, near, blue = (
        features_of(disc(32, 32, True)),
        features_of(disc(33, 32, True)),
        features_of(disc(32, 32, False)),
    )
    square = torch.ones(1, 3, 64, 64)
    square[:, 1:, 14:50, 14:50] = 0.1
    assert here.shape == (1, FEATURES)
    shift = float((here - near).norm())
    assert shift < 0.5 * float((here - features_of(square)).norm())
    assert shift < 0.5 * float((here - blue).norm())


def test_a_mirrored_picture_has_mirrored_features() -> None:
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 64, 64)
    colours = features_of(picture)[0, -192:].view(3, 8, 8)
    assert torch.allclose(features_of(picture.flip(-1))[0, -192:].view(3, 8, 8), colours.flip(-1), atol=1e-6)


def test_views_keep_the_size_and_the_ground() -> None:
    picture = torch.full((2, 3, 256, 256), 0.25)
    for view in views(picture):
        assert view.shape == (2, 3, 64, 64)
        assert torch.allclose(view, torch.tensor(0.25))


def test_augmented_drawings_stay_pictures() -> None:
    torch.manual_seed(3)
    drawings = torch.rand(12, 4, 96, 96)
    drawings[:, :3] *= drawings[:, 3:]
    settings = {"white": 1.0, "hue": 0.5, "zoom": [0.7, 1.1], "turn": 16, "shear": 0.1, "shift": 0.1}
    settings |= {"warp": 0.05, "coarse": 0.5, "noise": 0.0}
    drawings[0] = 0  # nothing drawn: all ground
    made = augmented(drawings, 64, settings)
    assert made.shape == (12, 3, 64, 64)
    assert float(made.min()) >= 0 and float(made.max()) <= 1
    assert torch.allclose(made[0], torch.ones(()), atol=1e-3)
    assert float(made[1:].std()) > 0.05


def test_ranks_count_the_answers_that_come_first() -> None:
    probabilities = np.asarray([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], np.float32)
    assert ranks_of(probabilities, ["cat", "dog", "fox"], ["dog", "fox"]).tolist() == [1, 0]
