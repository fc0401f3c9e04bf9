"""From customers' reviews to an endpoint that answers, in the steps of SageMaker's Python SDK.

    python examples/sentiment.py

`wildsage quickstart` does the same with a look behind the scenes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from nltk.tokenize import word_tokenize

import wildsage as sagemaker
from wildsage import samples

SENTIMENT = {"__label__-1": "negative", "__label__0": "neutral", "__label__1": "positive"}


def tokenised(text: str) -> str:
    """The classifier wants lower case, and a space between words and punctuation."""
    return " ".join(word_tokenize(text.lower(), preserve_line=True))


def write(reviews: list[samples.Review], path: Path) -> str:
    """A training file has an example a line, the label in front."""
    path.write_text("".join(f"__label__{review.sentiment} {tokenised(review.text)}\n" for review in reviews))
    return str(path)


def main(folder: Path) -> None:
    reviews = samples.split(samples.reviews())

    image = sagemaker.image_uris.retrieve(framework="blazingtext")
    estimator = sagemaker.estimator.Estimator(image_uri=image, instance_count=1, instance_type="local")
    estimator.set_hyperparameters(
        mode="supervised", epochs=40, early_stopping=True, learning_rate=0.1, vector_dim=32, word_ngrams=3, min_count=2
    )
    estimator.fit(
        {
            "train": sagemaker.inputs.TrainingInput(write(reviews.train, folder / "train.txt")),
            "validation": sagemaker.inputs.TrainingInput(write(reviews.validation, folder / "validation.txt")),
        }
    )
    print("model:", estimator.model_data)

    classifier = estimator.deploy(initial_instance_count=1, instance_type="local")
    try:
        print("endpoint:", classifier.url)
        texts = ["Love it, so soft and it fits perfectly!", "It fell apart after one wash."]
        for text, answer in zip(
            texts, classifier.predict({"instances": [tokenised(text) for text in texts]}), strict=True
        ):
            print(f"{SENTIMENT[answer['label'][0]]:>8}  {answer['prob'][0]:.2f}  {text}")

        answers = classifier.predict({"instances": [tokenised(review.text) for review in reviews.held_out]})
        right = [
            answer["label"] == [f"__label__{review.sentiment}"]
            for answer, review in zip(answers, reviews.held_out, strict=True)
        ]
        print(f"accuracy on {len(right)} held-out reviews: {sum(right) / len(right):.3f}")
    finally:
        classifier.delete_endpoint()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:  # for the two training files
        main(Path(folder))
