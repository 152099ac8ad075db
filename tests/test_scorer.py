"""Slices scored in the size of the model: the numbers of the slices that are built."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers, ops

from ckrm_tf import CKRMError, Layout, ResNetFamily, Stage, Widths
from ckrm_tf.families.vgg import VGGFamily
from ckrm_tf.narrowing import Narrower
from ckrm_tf.narrowing.mend import RIDGE, mended
from ckrm_tf.narrowing.recalibrate import recalibrate
from ckrm_tf.narrowing.rewrite import Rewriter
from ckrm_tf.narrowing.scorer import Scorer
from ckrm_tf.stats import macro_auc

SHAPE, CLASSES = (16, 16, 1), 3
TOLERANCE = 1e-4  # of probabilities
SHOWS = 20 * TOLERANCE  # the least difference between slices that are not the same


def films(count: int = 48, seed: int = 0) -> np.ndarray:
    """Smooth noise of different contrast."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 4, 4, 1)).repeat(4, 1).repeat(4, 2)
    fine = rng.normal(size=(count, *SHAPE))
    return ((coarse + 0.5 * fine) * rng.uniform(0.3, 2, (count, 1, 1, 1))).astype("float32")


def resnet() -> keras.Model:
    family = ResNetFamily(Widths(8, (Stage(2, 6, 16), Stage(1, 8, 16))), SHAPE, CLASSES)
    return family.build(family.start)


def grouped() -> keras.Model:
    widths = Widths(8, (Stage(1, 8, 12),))
    family = ResNetFamily(widths, SHAPE, CLASSES, Layout(groups=2))
    return family.build(family.start)


def vgg() -> keras.Model:
    family = VGGFamily((8, 12), (2, 1), SHAPE, CLASSES)
    return family.build(family.start)


def gated() -> keras.Model:
    """A depthwise convolution, a gate on channels, a join of two groups, a flattened map."""
    image = keras.Input(SHAPE)
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="stem")(image)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
    gate = layers.Conv2D(4, 1, activation="relu", name="squeeze")(gate)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="excite")(gate)
    y = layers.Multiply()([y, gate])
    z = layers.Conv2D(6, 1, activation="relu", name="side")(x)
    y = layers.Conv2D(6, 3, strides=2, activation="relu", name="joined")(
        layers.Concatenate()([y, z])
    )
    return keras.Model(image, layers.Dense(CLASSES, name="logits")(layers.Flatten()(y)))


NETWORKS = {"resnet": resnet, "grouped": grouped, "vgg": vgg, "gated": gated}


def scramble(model: keras.Model) -> None:
    """Biases, scales and shifts that show."""
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        if variable.path.endswith(("bias", "beta")):
            variable.assign(rng.normal(0, 0.3, variable.shape))
        elif variable.path.endswith("gamma"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))


class Case:
    """A network with weights that show, its scorer, and its slices as they are built."""

    def __init__(self, name: str) -> None:
        keras.utils.set_random_seed(3)
        self.model = NETWORKS[name]()
        scramble(self.model)
        self.fit, self.judge = films(), films(40, seed=1)
        recalibrate(self.model, self.fit)
        self.labels = np.arange(40) % CLASSES
        self.narrower = Narrower(self.model, images=self.fit)
        self.scorer = self.new()

    def new(self, **settings) -> Scorer:
        return Scorer(self.model, self.fit, self.judge, self.labels, **settings)

    def widths(self, share: float) -> dict[str, int]:
        found = self.narrower.channels.widths
        return {name: max(1, round(share * width)) for name, width in found.items()}

    def built(self, widths: dict[str, int], *, of_all: bool = True) -> np.ndarray:
        """Probabilities of the slice as a Keras model, mended once."""
        channels = self.narrower.channels
        alive = channels.alive(self.narrower.at(widths))
        values = mended(channels, alive, self.narrower.evidence.grams, RIDGE, of_all=of_all)
        return self.read(Rewriter(channels, alive, values).build())

    def read(self, model: keras.Model) -> np.ndarray:
        return np.asarray(ops.softmax(model(self.judge, training=False)))


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    return Case(request.param)


@pytest.fixture(scope="module")
def small():
    return Case("vgg")


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


@pytest.mark.parametrize("share", [0.6, 0.35])
def test_probabilities_are_those_of_the_slice_that_is_built(case, share):
    widths = case.widths(share)
    found = case.scorer.probabilities(widths)
    assert found.shape == (40, CLASSES)
    assert apart(found, case.built(widths)) < TOLERANCE
    # Another width somewhere, or no slice at all, is seen.
    name = max(widths, key=lambda n: case.narrower.channels.widths[n] - widths[n])
    assert apart(found, case.built(widths | {name: widths[name] + 1})) > SHOWS
    assert apart(found, case.read(case.model)) > SHOWS


def test_mending_counts(case):
    widths = case.widths(0.6)
    alive = case.narrower.channels.alive(case.narrower.at(widths))
    plain = case.read(Rewriter(case.narrower.channels, alive).build())
    assert apart(case.scorer.probabilities(widths), plain) > SHOWS


def test_the_model_itself_is_a_slice(case):
    assert apart(case.scorer.probabilities({}), case.read(case.model)) < TOLERANCE


def test_narrow_builds_the_same_at_the_same_ridge(small):
    """`narrow` takes its share of the channels that stay: for one group, that is another share."""
    name = "stage1_conv2"
    kept = small.narrower.at({name: 4})
    grams = small.narrower.evidence.grams
    kernel = small.model.get_layer("stage2_conv1").kernel
    energies = np.diag(grams[id(kernel)].products)
    share = float(energies.mean() / energies[kept[name]].mean())
    built = [
        small.read(small.narrower.build(kept, mend="once", ridge=ridge))
        for ridge in (RIDGE * share, 100 * RIDGE * share)
    ]
    found = small.scorer.probabilities({name: 4})
    assert apart(found, built[0]) < TOLERANCE
    assert apart(found, built[1]) > SHOWS


def test_the_score_is_the_macro_auc(small):
    widths = small.widths(0.5)
    probabilities = small.scorer.probabilities(widths)
    assert small.scorer.score(widths) == macro_auc(small.labels, probabilities)
    first = small.new(metric=lambda labels, p: p[0, labels[0]])
    assert first.score(widths) == pytest.approx(probabilities[0, small.labels[0]])


def test_scores_come_back(case):
    """The values of a weight that were asked for last are at hand, and are the right ones."""
    scorer = case.new()
    wide, slim = case.widths(0.8), case.widths(0.4)
    first = [scorer.probabilities(w) for w in (wide, slim)]
    solved = scorer.solved
    again = [scorer.probabilities(w) for w in (wide, slim, wide)]
    assert scorer.solved == solved > 0
    assert np.array_equal(again[0], first[0])
    assert np.array_equal(again[1], first[1])
    assert apart(again[2], again[1]) > SHOWS


def test_only_kernels_whose_inputs_changed_are_solved_anew(small):
    scorer = small.new()
    scorer.score(small.widths(0.6))
    before = scorer.solved
    scorer.score(small.widths(0.6) | {"stage1_conv2": 2})
    assert scorer.solved == before + 1


def test_a_score_builds_no_model_and_traces_nothing_anew(case, monkeypatch):
    scorer = case.new()
    scorer.score(case.widths(0.9))
    made = []
    plain = keras.layers.Layer.__init__

    def noted(self, *args, **kwargs):
        made.append(self)
        plain(self, *args, **kwargs)

    monkeypatch.setattr(keras.layers.Layer, "__init__", noted)
    scores = {scorer.score(case.widths(share)) for share in np.linspace(0.2, 1, 9)}
    assert len(scores) > 2
    assert not made
    if keras.backend.backend() == "tensorflow":
        assert scorer._forward.experimental_get_tracing_count() == 1
    # Models that are built are noticed.
    scorer.rebase(case.widths(0.5))
    assert made


def passable(axis: str, bias: bool = True, last: int = 2):
    """A ResNet of two stages, one of which may be passed, and the bypass."""
    keras.utils.set_random_seed(1)
    widths = Widths(8, (Stage(1, 6, 12), Stage(last, 8, 16)))
    family = ResNetFamily(widths, SHAPE, CLASSES, Layout(bias=bias))
    model = family.build(family.start)
    scramble(model)
    return model, {axis: family.bypasses(family.start)[axis]}


def passing(model, bypasses, judge=None, **options):
    judge = films(40, 1) if judge is None else judge
    labels = np.arange(len(judge)) % CLASSES
    return Scorer(model, films(), judge, labels, bypasses=bypasses, **options)


@pytest.mark.parametrize("axis", ["stage1/blocks", "stage2/blocks"])
@pytest.mark.parametrize("bias", [True, False])
def test_blocks_that_add_what_is_linear_go_without_loss(axis, bias):
    model, bypasses = passable(axis, bias, last=1)
    found = {}
    for linear in (False, True):
        if linear:
            norm = model.get_layer(bypasses[axis].ends[0])
            norm.gamma.assign(norm.gamma * 0)
            norm.beta.assign(norm.beta * 0)
        # Images of the regression itself: on others a channel may live that is dead on these.
        scorer = passing(model, bypasses, films(), ridge=1e-6)
        whole = scorer.probabilities({})
        assert apart(scorer.probabilities({}, {axis: 1}), whole) == 0
        found[linear] = apart(scorer.probabilities({}, {axis: 0}), whole)
        if keras.backend.backend() == "tensorflow":
            assert scorer._forward.experimental_get_tracing_count() == 1
        # What is asked for once leaves no trace.
        assert apart(scorer.probabilities({}), whole) < TOLERANCE
    assert found[False] > 2 * SHOWS
    assert found[True] < found[False] / 20


@pytest.mark.parametrize("depth", [0, 1])
def test_the_shortcut_takes_over_what_blocks_gave(depth):
    """The ridge regression by hand, from what the stage reads to what the blocks added."""
    axis, last = "stage2/blocks", 2
    model, bypasses = passable(axis, last=last)
    shortcut, norm = (model.get_layer(f"stage2_block1_shortcut{end}") for end in ("", "_bn"))
    sums = [norm.output, *(model.get_layer(path).output for path in bypasses[axis].sums)]
    read, before, after = keras.Model(model.input, [shortcut.input, sums[depth], sums[last]])(
        films()
    )
    x = np.asarray(read)[:, ::2, ::2].reshape(-1, 12).astype(float)
    x = np.hstack([x, np.ones((len(x), 1))])
    solved = np.linalg.lstsq(x, np.asarray(after - before).reshape(-1, 16), rcond=None)[0]
    scale = np.asarray(norm.gamma) / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    bridge = passing(model, bypasses, ridge=1e-6)._stages[axis]._bridges[depth]
    own = np.asarray(shortcut.kernel)[0, 0] * scale
    np.testing.assert_allclose(bridge.kernel[0, 0] - own, solved[:-1], atol=1e-2)
    assert np.abs(solved).max() > 0.1
    scorer = passing(model, bypasses)
    whole = scorer.probabilities({})
    mended = np.mean((scorer.probabilities({}, {axis: depth}) - whole) ** 2)
    # Without it the branches are silent and no more.
    for path in bypasses[axis].ends[depth:]:
        end = model.get_layer(path)
        end.gamma.assign(end.gamma * 0)
        end.beta.assign(end.beta * 0)
    silent = np.mean((passing(model, bypasses).probabilities({}) - whole) ** 2)
    assert 0 < mended < silent / 2


def test_a_rebased_scorer_is_as_deep_as_before():
    axis = "stage2/blocks"
    model, bypasses = passable(axis)
    widths = {"stem_conv": 5, "stage1_block1_conv1": 3, "stage2_block2_conv1": 3}
    first = passing(model, bypasses)
    scorer = passing(model, bypasses)
    base = {"stem_conv": 6, "stage1_block1_conv1": 4, "stage2_block1_conv1": 1}
    for depth in (0, 1):
        assert apart(scorer.probabilities(widths), first.probabilities(widths, {axis: depth})) > 0
    small = scorer.rebase(base)
    assert small.count_params() < model.count_params()
    narrow = widths | {"stage2_block1_conv1": 1}
    for depth in (0, 1, 2):
        wanted = first.probabilities(narrow, {axis: depth})
        assert apart(scorer.probabilities(narrow, {axis: depth}), wanted) < TOLERANCE
    assert apart(first.probabilities(narrow, {axis: 0}), first.probabilities(narrow)) > SHOWS


def test_a_stage_or_a_depth_that_the_model_has_not_is_refused():
    axis = "stage1/blocks"
    model, bypasses = passable(axis)
    whole = bypasses[axis]
    bad = {
        "stage1_block1_conv2: expected a plain 1x1": replace(whole, conv="stage1_block1_conv2"),
        "expected a batch norm with gamma and beta": replace(whole, ends=("stage1_block1_add",)),
        "expected the layer that adds each branch": replace(whole, sums=("nowhere",)),
    }
    for match, bypass in bad.items():
        with pytest.raises(CKRMError, match=match):
            passing(model, {axis: bypass})
    with pytest.raises(CKRMError, match="stage2/blocks"):
        passing(model, bypasses).score({}, {"stage2/blocks": 0})
    with pytest.raises(CKRMError, match="a whole number from 0 to 1, received 2"):
        passing(model, bypasses).score({}, {axis: 2})


def test_a_rebased_scorer_gives_the_same_scores(case):
    scorer = case.new()
    base, slim = case.widths(0.7), case.widths(0.4)
    wanted = [case.scorer.probabilities(widths) for widths in (base, slim)]
    model = scorer.rebase(base)
    assert scorer.widths == {n: w for n, w in base.items() if w > 1}
    assert model.count_params() < case.model.count_params()
    assert apart(case.read(model), wanted[0]) < TOLERANCE
    assert apart(scorer.probabilities({}), wanted[0]) < TOLERANCE
    assert apart(scorer.probabilities(slim), wanted[1]) < TOLERANCE
    scorer.rebase(case.widths(0.5))
    assert apart(scorer.probabilities(slim), wanted[1]) < TOLERANCE
    assert apart(*wanted) > SHOWS
    with pytest.raises(CKRMError, match="whole number from 1 to"):
        scorer.score(base)


def test_mending_the_slice_anew_is_another_thing(small):
    """Measured on the slice, responses differ: that is not what `rebase` does."""
    base, slim = small.widths(0.7), small.widths(0.4)
    scorer = small.new()
    model = scorer.rebase(base)
    anew = Scorer(model, small.fit, small.judge, small.labels)
    assert apart(anew.probabilities({}), scorer.probabilities({})) < TOLERANCE
    assert apart(anew.probabilities(slim), scorer.probabilities(slim)) > TOLERANCE


@pytest.mark.parametrize(("units", "output"), [(CLASSES, "softmax"), (1, "sigmoid")])
def test_outputs_that_are_probabilities(small, units, output):
    x = small.model.get_layer("pool").output
    last = layers.Dense(units, activation=output)
    model = keras.Model(small.model.input, last(x))
    labels = small.labels % max(2, units)
    scorer = Scorer(model, small.fit, small.judge, labels, output=output)
    given = np.asarray(model(small.judge, training=False), np.float64)
    wanted = given if units > 1 else np.hstack([1 - given, given])
    assert apart(scorer.probabilities({}), wanted) < TOLERANCE
    assert scorer.score(small.widths(0.5)) != scorer.score({})


def test_more_images_than_one_pass_takes(small, monkeypatch):
    whole = small.scorer.probabilities(small.widths(0.5))
    largest = small.narrower.channels.largest
    monkeypatch.setattr("ckrm_tf.narrowing.forward.LARGEST", 7 * largest)
    scorer = small.new()
    assert len(scorer._batches) == 6
    assert apart(scorer.probabilities(small.widths(0.5)), whole) < TOLERANCE


def normed() -> keras.Model:
    image = keras.Input(SHAPE)
    x = layers.LayerNormalization(name="norm")(layers.Conv2D(8, 3)(image))
    return keras.Model(image, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def multiplied() -> keras.Model:
    image = keras.Input(SHAPE)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(image))
    y, z = layers.Dense(5)(x), layers.Dense(5)(x)
    product = layers.Dot(axes=1, name="dot")([y, z])
    return keras.Model(image, layers.Dense(CLASSES)(layers.Concatenate()([product, x])))


@pytest.mark.parametrize(("build", "where"), [(normed, "norm"), (multiplied, "dot")])
def test_channels_that_reach_others_without_a_kernel_are_refused(build, where):
    x = films(6)
    with pytest.raises(CKRMError, match=f"received {where}"):
        Scorer(build(), x, x, np.arange(6) % CLASSES)


def test_bad_arguments(small):
    for settings, message in (
        ({"ridge": -1}, "ridge"),
        ({"metric": "acu"}, "Did you mean 'auc'"),
        ({"output": "logit"}, "Did you mean 'logits'"),
        ({"select": "pivots"}, "Did you mean 'pivot'"),
        ({"output": "sigmoid"}, "for sigmoid"),
    ):
        with pytest.raises(CKRMError, match=message):
            small.new(**settings)
    with pytest.raises(CKRMError, match="one for each of 40 images"):
        Scorer(small.model, small.fit, small.judge, small.labels[:-1])
    with pytest.raises(CKRMError, match="every class"):
        Scorer(small.model, small.fit, small.judge, small.labels % 2)
    with pytest.raises(CKRMError, match="unknown width group"):
        small.scorer.score({"stage1": 3})
