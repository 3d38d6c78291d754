"""Run a prediction in a process of its own, to be killed: INPUT MODEL OUTPUT."""

import sys
from pathlib import Path

from protein2text.answerers import AnswerConfig
from protein2text.generate.predict import predict

SETTINGS = AnswerConfig(max_new_tokens=40, temperature=0.8, top_p=0.95, seed=5, batch_tokens=600)

if __name__ == "__main__":
    source, model, output = map(Path, sys.argv[1:4])
    predict(source, model, output, SETTINGS)
