"""Train the bridge on descriptions, the alignment stage, as a Ray job.

    ray job submit --working-dir . -- python jobs/align.py RUN

A submitted job runs in a copy of the checkout that Ray deletes later, so the run's paths should be absolute.
"""

import _training

if __name__ == "__main__":
    _training.main("alignment", __doc__)
