"""Write questions and answers from literature and check them into a corpus, as a Ray job.

    ray job submit --working-dir . -- python jobs/generate_qa.py LITERATURE --output DIR --generator MODEL

A submitted job runs in a copy of the checkout that Ray deletes later, so literature, output and a generator's folder
should be absolute paths on storage that every node sees. A service's key is read from OPENAI_API_KEY, which the job's
runtime environment may set.
"""

import argparse

import _bootstrap
from protein2text.data.qa.generator_config import GeneratorConfig, GeneratorScaling
from protein2text.data.qa.run import load_rules, make_qa


def main() -> None:
    """Generate, check and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("literature", help="folder made by `data literature`")
    parser.add_argument("--output", required=True, help="corpus folder to write")
    parser.add_argument("--generator", help="instruct model: a folder or hub id; with --url, its name there")
    parser.add_argument("--url", help="OpenAI-compatible service, such as http://gpu:8000/v1")
    parser.add_argument("--revision", help="commit of a hub id; with --url, the model's version")
    parser.add_argument("--rules", help="YAML file of limits that differ from the defaults")
    parser.add_argument("--temperature", type=float, default=0.6, help="of sampling; 0 takes the most likely token")
    parser.add_argument("--top-p", type=float, default=0.9, help="nucleus of sampling")
    parser.add_argument("--max-new-tokens", type=int, default=2048, help="longest text about one passage, in tokens")
    parser.add_argument("--seed", type=int, default=0, help="with a passage's id it makes that passage's seed")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    parser.add_argument("--workers", type=int, default=1, help="generators side by side")
    parser.add_argument("--gpus-per-worker", type=float, default=0, help="GPUs of each; 0 runs on the CPU")
    parser.add_argument(
        "--batch", type=int, default=8, help="passages in a batch, or requests under way, per generator"
    )
    arguments = parser.parse_args()
    config = None
    if arguments.generator:
        chosen = ("url", "revision", "dtype", "temperature", "top_p", "max_new_tokens", "seed")
        settings = {"model": arguments.generator, **{name: getattr(arguments, name) for name in chosen}}
        config = GeneratorConfig.parse(settings, path="jobs/generate_qa.py")
    scaling = GeneratorScaling(
        num_workers=arguments.workers, gpus_per_worker=arguments.gpus_per_worker, batch_passages=arguments.batch
    )
    with _bootstrap.cluster():
        _bootstrap.print_result(
            make_qa(arguments.literature, arguments.output, config, rules=load_rules(arguments.rules), scaling=scaling)
        )


if __name__ == "__main__":
    main()
