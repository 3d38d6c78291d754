"""Every error a user can cause. Each says what happened, where, the value, the limit and the remedy.

ProteinToTextError
├── ConfigError              a YAML key or value that does not fit
├── RecordError              one bad record
│   ├── InvalidResidue       a letter outside the encoder's alphabet
│   ├── EmptySequence        no residues at all
│   ├── NucleotideSequence   DNA or RNA where a protein is needed
│   ├── SequenceTooLong      more residues than the limit
│   │   └── BeyondTraining   longer than the encoder's training crops, where the model refuses that
│   └── UnusableRecord       any other defect, with a reason code to count by
├── MissingFile              a path that is not there
├── MissingWeights           base weights that cannot be found
├── CorruptCheckpoint        a file that differs from its manifest
│   ├── OtherVersion         whole, but written by another version of this program
│   └── OtherRun             whole, but written by a run with other settings
├── ResumeMismatch           a run name used again with another configuration
├── ResourcesUnavailable     a job larger than the cluster
├── DiskFull                 an output that a full disk, a quota or a limit of file sizes cuts short
├── DeviceOutOfMemory        training that does not fit on a worker's device
├── LeakError                test proteins or texts among the training records
├── ServiceError             a service that does not answer as it should
├── PredictionStopped        answers to a file that could not all be made
└── RecordingStopped         a clone of the reference that ended before its last record

Errors cross Ray processes, so every class hands all its fields to ``super().__init__``: an exception that cannot be
rebuilt from ``args`` reaches the driver as something else.
"""

from collections.abc import Iterator


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came from; Ray keeps under ``cause`` what Python keeps under ``__cause__``."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = getattr(error, "cause", None) or error.__cause__


MAX_SHOWN = 400
"""Letters of a value of the user's that an error repeats."""


def shortened(text: str) -> str:
    """A text as an error shows it: a long one by its beginning and end, and how long it is."""
    if len(text) <= MAX_SHOWN:
        return text
    return f"{text[: MAX_SHOWN * 3 // 4]} … {text[-MAX_SHOWN // 4 :]} ({len(text):,} letters)"


class ProteinToTextError(Exception):
    """Root of the errors that this product raises on purpose."""


class ConfigError(ProteinToTextError):
    """A configuration that does not fit: which file, which key, and why."""

    def __init__(self, path: str, key: str, message: str) -> None:
        super().__init__(path, key, message)
        self.path, self.key, self.message = path, key, message

    def __str__(self) -> str:
        return f"{shortened(self.path)}: {self.key}: {self.message}"


class RecordError(ProteinToTextError):
    """One record that cannot be used; in a large run it is quarantined with this text as the reason."""

    reason = "bad_record"
    """The code under which refused records are counted."""

    def __init__(self, record: str, place: str, value: str, limit: str, remedy: str) -> None:
        super().__init__(record, place, value, limit, remedy)
        self.record, self.place, self.value, self.limit, self.remedy = record, place, value, limit, remedy

    def __str__(self) -> str:
        return f"{self.record}, {self.place}: {self.value}; {self.limit}. {self.remedy}"


class InvalidResidue(RecordError):
    """A letter that the encoder's alphabet does not hold; it is never replaced by a guess."""

    reason = "invalid_residue"

    def __init__(
        self, record: str, position: int, letter: str, alphabet: str, line: int | None = None, column: int | None = None
    ) -> None:
        ProteinToTextError.__init__(self, record, position, letter, alphabet, line, column)
        self.record, self.position, self.letter, self.alphabet = record, position, letter, alphabet
        self.line, self.column = line, column
        self.value = letter

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}, column {self.column}, "
        unknown = ", or write X for an unknown residue" if "X" in self.alphabet else ""
        return (
            f"{self.record}, {where}residue {self.position}: {self.letter!r} is not an amino-acid letter; allowed are "
            f"{self.alphabet}. {self._hint()}Correct the sequence{unknown}."
        )

    def _hint(self) -> str:
        if self.letter.isdecimal():
            return "Position numbers are no residues: remove them. "
        hints = {"*": "Only one stop sign, at the end, is ignored. ", ">": "A title stands on a line of its own. "}
        return hints.get(self.letter, "Remove alignment gaps. " if self.letter in "-.~" else "")


class EmptySequence(RecordError):
    """A protein without residues."""

    reason = "empty_sequence"

    def __init__(self, record: str, line: int | None = None) -> None:
        ProteinToTextError.__init__(self, record, line)
        self.record, self.line = record, line
        self.value = "0 residues"

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}, "
        return f"{self.record}, {where}sequence: 0 residues; at least 1 is needed. Give the sequence or a FASTA record."


class NucleotideSequence(RecordError):
    """DNA or RNA: its letters are amino-acid letters too, and an answer about them would be fluent and wrong."""

    reason = "nucleotides"

    def __init__(self, record: str, num_letters: int) -> None:
        ProteinToTextError.__init__(self, record, num_letters)
        self.record, self.num_letters = record, num_letters
        self.value = f"{num_letters} letters"

    def __str__(self) -> str:
        return (
            f"{self.record}, sequence: all {self.num_letters} letters are A, C, G, T, U or N, as in DNA or RNA; a "
            f"protein is needed. Translate it first."
        )


class SequenceTooLong(RecordError):
    """A protein above the configured length; nothing is cut in silence."""

    reason = "too_long"

    def __init__(self, record: str, num_residues: int, max_residues: int) -> None:
        ProteinToTextError.__init__(self, record, num_residues, max_residues)
        self.record, self.num_residues, self.max_residues = record, num_residues, max_residues
        self.value = f"{num_residues} residues"

    def __str__(self) -> str:
        return (
            f"{self.record}, sequence: {self.num_residues} residues; the limit is max_residues={self.max_residues}. "
            f"Raise max_residues if memory allows, or submit one domain of the protein."
        )


class MissingFile(ProteinToTextError):
    """A path that does not exist."""

    def __init__(self, path: str, purpose: str, remedy: str) -> None:
        super().__init__(path, purpose, remedy)
        self.path, self.purpose, self.remedy = path, purpose, remedy

    def __str__(self) -> str:
        return f"{shortened(self.path)} does not exist; it was to be read as {self.purpose}. {self.remedy}"


class MissingWeights(ProteinToTextError):
    """Base weights that are neither in a local folder nor to be had from the hub."""

    def __init__(self, source: str, problem: str, remedy: str) -> None:
        super().__init__(source, problem, remedy)
        self.source, self.problem, self.remedy = source, problem, remedy

    def __str__(self) -> str:
        return f"Weights {self.source!r}: {self.problem}. {self.remedy}"


class CorruptCheckpoint(ProteinToTextError):
    """A model folder or checkpoint that is not what its manifest says."""

    def __init__(self, folder: str, file: str, problem: str, remedy: str) -> None:
        super().__init__(folder, file, problem, remedy)
        self.folder, self.file, self.problem, self.remedy = folder, file, problem, remedy

    def __str__(self) -> str:
        return f"{self.folder}: {self.file}: {self.problem}. {self.remedy}"


class OtherVersion(CorruptCheckpoint):
    """A model folder or checkpoint in the format of another version of this program."""


class OtherRun(CorruptCheckpoint):
    """A checkpoint that a run with other settings, or with more steps, wrote."""


class ResumeMismatch(ProteinToTextError):
    """A run name used again with another configuration."""

    def __init__(self, run: str, key: str, saved: str, current: str) -> None:
        super().__init__(run, key, saved, current)
        self.run, self.key, self.saved, self.current = run, key, saved, current

    def __str__(self) -> str:
        return (
            f"Run {self.run!r} exists with {self.key}={self.saved}, now {self.key}={self.current}. "
            f"Choose another name, restore the old value, or remove what that run wrote."
        )


class RunInUse(ProteinToTextError):
    """A run that another process trains at this moment."""

    def __init__(self, run: str, lock: str, holder: str) -> None:
        super().__init__(run, lock, holder)
        self.run, self.lock, self.holder = run, lock, holder

    def __str__(self) -> str:
        return (
            f"Run {self.run!r} is being trained by {self.holder} ({self.lock}). Two at once would overwrite each "
            f"other's checkpoints: wait until it ends, or stop it."
        )


class ResourcesUnavailable(ProteinToTextError):
    """A job that the cluster can never place."""

    def __init__(self, demand: str, supply: str, remedy: str) -> None:
        super().__init__(demand, supply, remedy)
        self.demand, self.supply, self.remedy = demand, supply, remedy

    def __str__(self) -> str:
        return f"The job needs {self.demand}, the cluster has {self.supply}. {self.remedy}"


class DiskFull(ProteinToTextError):
    """An output that could not be written to its end: its disk, a quota or a limit of file sizes takes no more."""

    def __init__(self, output: str, problem: str, said: str, remedy: str) -> None:
        super().__init__(output, problem, said, remedy)
        self.output, self.problem, self.said, self.remedy = output, problem, said, remedy

    def __str__(self) -> str:
        return (
            f"{self.output}: {self.problem} ({self.said}). {self.remedy}, and give the same command again: it removes "
            f"what is half-written."
        )


class DeviceOutOfMemory(ProteinToTextError):
    """A training worker whose device ran out of memory: on what, what was expected, and what to turn, in order."""

    def __init__(self, worker: int, stage: str, during: str, problem: str, estimate: str, remedy: str) -> None:
        super().__init__(worker, stage, during, problem, estimate, remedy)
        self.worker, self.stage, self.during, self.problem = worker, stage, during, problem
        self.estimate, self.remedy = estimate, remedy

    def __str__(self) -> str:
        return (
            f"{self.stage}: worker {self.worker} ran out of memory {self.during}: {self.problem.rstrip('.')}. "
            f"The estimate for it: {self.estimate}. To make it fit, {self.remedy}. The same run name then goes on "
            f"from its newest checkpoint, if only these were changed."
        )


class LeakError(ProteinToTextError):
    """Test proteins or texts that also stand among the training records."""

    def __init__(self, split: str, problem: str, remedy: str) -> None:
        super().__init__(split, problem, remedy)
        self.split, self.problem, self.remedy = split, problem, remedy

    def __str__(self) -> str:
        return f"Test set {self.split}: {self.problem}. {self.remedy}"


class ServiceError(ProteinToTextError):
    """A service that could not be reached or did not answer as expected."""

    def __init__(self, url: str, problem: str, remedy: str) -> None:
        super().__init__(url, problem, remedy)
        self.url, self.problem, self.remedy = url, problem, remedy

    def __str__(self) -> str:
        return f"{self.url}: {self.problem}. {self.remedy}"


class UnusableRecord(RecordError):
    """A record refused by a reader; ``reason`` is the code under which the funnel counts it."""

    def __init__(self, reason: str, record: str, place: str, value: str, limit: str, remedy: str) -> None:
        ProteinToTextError.__init__(self, reason, record, place, value, limit, remedy)
        self.reason, self.record, self.place = reason, record, place
        self.value, self.limit, self.remedy = value, limit, remedy


class AnsweringFailed(ProteinToTextError):
    """An answerer whose next step failed, out of memory for instance; the answers that it gave stand."""

    def __init__(self, answerer: str, problem: str) -> None:
        super().__init__(answerer, problem)
        self.answerer, self.problem = answerer, problem

    def __str__(self) -> str:
        return f"{self.answerer}: {self.problem}. Lower --batch-tokens if memory ran out."


class PredictionStopped(ProteinToTextError):
    """A prediction whose next step failed; what was answered is kept."""

    def __init__(self, output: str, num_answered: int, problem: str) -> None:
        super().__init__(output, num_answered, problem)
        self.output, self.num_answered, self.problem = output, num_answered, problem

    def __str__(self) -> str:
        return (
            f"{self.output}: stopped after {self.num_answered} answers, which are kept: {self.problem}. "
            f"Lower --batch-tokens if memory ran out; the same command goes on from here."
        )


class RecordingStopped(ProteinToTextError):
    """A user's clone of the reference that ended early; what it had recorded is kept."""

    def __init__(self, output: str, num_recorded: int, num_records: int, problem: str) -> None:
        super().__init__(output, num_recorded, num_records, problem)
        self.output, self.num_recorded, self.num_records, self.problem = output, num_recorded, num_records, problem

    def __str__(self) -> str:
        return (
            f"{self.output}: the reference stopped after {self.num_recorded} of {self.num_records} records, which are "
            f"kept: {self.problem}. Read {self.output}/record.log; the same command goes on from here."
        )


class BeyondTraining(SequenceTooLong):
    """A protein longer than what the encoder was trained on, given to a model that refuses such proteins."""

    def __init__(
        self, record: str, num_residues: int, max_residues: int, exact_bytes: int = 0, window_bytes: int = 0
    ) -> None:
        ProteinToTextError.__init__(self, record, num_residues, max_residues, exact_bytes, window_bytes)
        self.record, self.num_residues, self.max_residues = record, num_residues, max_residues
        self.exact_bytes, self.window_bytes = exact_bytes, window_bytes
        self.value = f"{num_residues} residues"

    def __str__(self) -> str:
        memory = ""
        if self.exact_bytes:
            exact, window = self.exact_bytes / 2**30, self.window_bytes / 2**30
            memory = f" The encoder would need about {exact:.2g} GiB in one pass, {window:.2g} GiB in windows."
        return (
            f"{self.record}, sequence: {self.num_residues} residues; the encoder was trained on up to "
            f"{self.max_residues}, and the model's long_proteins=refuse.{memory} Use a model with long_proteins=auto, "
            f"or submit one domain of the protein."
        )
