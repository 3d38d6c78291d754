"""Train the bridge and LoRA on questions and answers, instruction tuning, as a Ray job.

    ray job submit --working-dir . -- python jobs/instruct.py RUN

A submitted job runs in a copy of the checkout that Ray deletes later, so the run's paths should be absolute.
"""

import _training

if __name__ == "__main__":
    _training.main("instruction", __doc__)
