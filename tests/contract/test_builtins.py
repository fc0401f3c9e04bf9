from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract import content_types
from wildsage.contract.builtins import image, is_registry_uri, names, regions, registry_uri, resolve, table
from wildsage.contract.channels import Distribution, InputMode
from wildsage.contract.errors import ClientError

BUILT_INS = {
    *("blazingtext", "factorization-machines", "forecasting-deepar", "image-classification", "ipinsights", "kmeans"),
    *("knn", "lda", "linear-learner", "ntm", "object-detection", "object2vec", "pca", "randomcutforest"),
    *("semantic-segmentation", "seq2seq", "xgboost"),
}

BEYOND_CONTRACT = {"glove"}


def test_every_built_in_is_there() -> None:
    assert set(names()) == BUILT_INS | BEYOND_CONTRACT
    assert {name for name in names() if table(name).beyond_contract} == BEYOND_CONTRACT


def test_what_is_beyond_the_contract_goes_by_its_name() -> None:
    assert image("GloVe", "us-east-1") == image("glove", "nowhere", "latest") == "glove"
    assert image("blazingtext", "us-east-1") == registry_uri("blazingtext", "us-east-1")
    assert resolve("glove:1") == "glove"
    with pytest.raises(ClientError, match='glove has no version "9"; there are 1, latest'):
        image("glove", "us-east-1", "9")
    with pytest.raises(ClientError, match="glove is beyond the contract, so no registry has an image of it"):
        registry_uri("glove", "us-east-1")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("blazingtext", "blazingtext"),
        ("blazing_text", "blazingtext"),
        ("BlazingText", "blazingtext"),
        ("fasttext", "blazingtext"),
        ("blazingtext:1", "blazingtext"),
        ("blazingtext:latest", "blazingtext"),
        ("deepar", "forecasting-deepar"),
        ("DeepAR", "forecasting-deepar"),
        ("random-cut-forest", "randomcutforest"),
        ("Random Cut Forest", "randomcutforest"),
        ("k-NN", "knn"),
        ("KMeans", "kmeans"),
        ("linear_learner", "linear-learner"),
        ("sagemaker-xgboost", "xgboost"),
        ("xgboost:1.7-1", "xgboost"),
        ("811284229777.dkr.ecr.us-east-1.amazonaws.com/blazingtext:1", "blazingtext"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/kmeans", "kmeans"),
        ("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", "xgboost"),
        ("390948362332.dkr.ecr.cn-north-1.amazonaws.com.cn/blazingtext@sha256:" + "0" * 64, "blazingtext"),
    ],
)
def test_a_name_is_resolved(text: str, name: str) -> None:
    assert resolve(text) == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "blazingtxt",
            r'"blazingtxt" is not an algorithm; there are blazingtext, fact.*; did you mean "blazingtext"\?$',
        ),
        ("randomforest:1", 'did you mean "randomcutforest"'),
        ("blazingtext:9", 'blazingtext has no version "9"; there are 1, latest'),
        ("", '"" is not an algorithm; there are'),
        ("python:3.11", "is not an algorithm"),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/kmean:1", 'did you mean "kmeans"'),
        ("docker.io/someone/blazingtext:1", "is not an algorithm"),
    ],
)
def test_an_unknown_name_is_told(text: str, reason: str) -> None:
    with pytest.raises(ClientError, match=reason):
        resolve(text)


@given(st.text())
def test_any_text_is_resolved_or_refused(text: str) -> None:
    with contextlib.suppress(ClientError):
        resolve(text)


@pytest.mark.parametrize(
    ("arguments", "uri"),
    [
        (("blazingtext", "us-east-1"), "811284229777.dkr.ecr.us-east-1.amazonaws.com/blazingtext:1"),
        (("blazingtext", "us-east-1", "latest"), "811284229777.dkr.ecr.us-east-1.amazonaws.com/blazingtext:1"),
        (("BlazingText", "cn-north-1", "1"), "390948362332.dkr.ecr.cn-north-1.amazonaws.com.cn/blazingtext:1"),
        (("blazingtext", "us-iso-east-1"), "490574956308.dkr.ecr.us-iso-east-1.c2s.ic.gov/blazingtext:1"),
        (("blazingtext", "us-isob-east-1"), "765400339828.dkr.ecr.us-isob-east-1.sc2s.sgov.gov/blazingtext:1"),
        (("lda", "us-west-2", "1"), "266724342769.dkr.ecr.us-west-2.amazonaws.com/lda:1"),
        (
            ("xgboost", "us-east-1", "0.90-1"),
            "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:0.90-1-cpu-py3",
        ),
        (("xgboost", "us-east-1", "1"), "811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:1"),
        (("xgboost", "us-east-1", "latest"), "811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:latest"),
        (("xgboost", "us-east-1"), "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5"),
    ],
)
def test_the_uri_of_a_real_image(arguments: tuple[str, ...], uri: str) -> None:
    assert registry_uri(*arguments) == uri


@pytest.mark.parametrize("name", sorted(BUILT_INS))
def test_every_image_resolves_to_its_built_in(name: str) -> None:
    found = 0
    for region in regions():
        for version in (*table(name).versions, "latest", None):
            try:
                uri = registry_uri(name, region, version)
            except ClientError as error:
                assert "has no image in region" in str(error)  # noqa: PT017 (lda is not in every region)
                continue
            assert resolve(uri) == name
            assert is_registry_uri(uri)
            found += 1
    assert found >= 16


def test_an_image_that_there_is_not_is_told() -> None:
    with pytest.raises(ClientError, match=r'no image in region "us-east-11"; there are .*; did you mean "us-east-1"'):
        registry_uri("kmeans", "us-east-11")
    with pytest.raises(ClientError, match=r'xgboost has no version "1.1-1"'):
        registry_uri("xgboost", "us-east-1", "1.1-1")


@pytest.mark.parametrize("name", sorted(BUILT_INS))
def test_a_table_is_sound(name: str) -> None:
    facts = table(name)
    hyperparameters = {fact.name: fact for fact in facts.hyperparameters}
    assert len(hyperparameters) == len(facts.hyperparameters)
    assert all(fact.meaning for fact in facts.hyperparameters)
    assert {tunable.name for tunable in facts.tunable} <= hyperparameters.keys()
    for tunable in facts.tunable:
        assert tunable.kind in ("integer", "continuous", "categorical")
        assert tunable.values or (tunable.minimum is not None and tunable.maximum is not None)
    for channel in facts.channels:
        assert set(channel.input_modes) <= {mode.value for mode in InputMode}
        assert set(channel.distributions) <= {distribution.value for distribution in Distribution}
        for text in channel.content_types:
            # XGBoost and DeepAR also take short names, such as csv and json.gz.
            if "*" not in text and "/" in text:
                content_types.parse(text)
    assert any(channel.required for channel in facts.channels)
    for text in (*facts.request_types, *facts.response_types):
        if "*" not in text:
            content_types.parse(text)
    assert facts.examples
    for metric in facts.metrics:
        assert re.fullmatch(r"\S+", metric.name)
        assert metric.direction in ("maximize", "minimize", None)


def test_blazingtext() -> None:
    facts = table("blazingtext")
    assert [fact.name for fact in facts.hyperparameters if fact.beyond_contract] == [
        "seed",
        "loss",
        "storage",
        "device",
        "deterministic",
        "k_fold",
        "cbow_mean_gradient",
        "position_weights",
        "phrases",
        "phrase_threshold",
        "phrase_discount",
    ]
    accuracy = facts.metric("validation:accuracy")
    assert accuracy is not None
    assert (accuracy.regex, accuracy.line) == (r"#validation_accuracy: (\S+)", "#validation_accuracy: {value}")
    assert facts.metric("none") is None
    assert facts.input_modes("train") == ("FastFile", "File", "Pipe")
