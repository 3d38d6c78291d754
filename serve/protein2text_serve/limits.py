"""From a well-formed request to a question for the model, or a refusal that names the limit."""

import secrets
from typing import Any

from protein2text.errors import RecordError
from protein2text.models.chat import PLACEHOLDER, question_messages
from protein2text.proteins import Protein, parse_protein
from protein2text_serve.protocol import ChatRequest, Message, ProteinPart
from protein2text_serve.question import ModelCard, Question, Settings
from protein2text_serve.refusals import Refused
from protein2text_serve.settings import ServiceConfig


def accept(request: ChatRequest, id: str, config: ServiceConfig, card: ModelCard) -> Question:
    """Check ``request`` against every limit of the service and the model.

    Raises:
        Refused: 404 for another model, 422 for anything outside a limit.
    """
    if request.model not in (None, card.name, f"{card.name}:{card.version}"):
        message = f"model {request.model!r} is not served here; {card.name!r} is. See /v1/models."
        raise Refused(404, message, param="model", code="model_not_found")
    if card.is_index:
        _without_decoding(request)
    settings = _settings(request, config)
    _one_turn(request.messages)
    proteins, text = _content(request.messages[0], config, card)
    provenance: dict[str, Any] = {"proteins": [card.describe_protein(protein) for protein in proteins]}
    if not card.is_index:
        provenance["beyond_training_length"] = any(
            protein["beyond_training_length"] for protein in provenance["proteins"]
        )
    messages = question_messages(text, len(proteins))
    return Question(id, messages, [protein.sequence for protein in proteins], provenance, settings)


def _without_decoding(request: ChatRequest) -> None:
    """An index quotes what its entries say: a setting of decoding is refused, never ignored in silence.

    Temperature 0 and top_p 1 ask for no sampling, which is what it does; some clients always send them.
    """
    settings = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "seed")
    unsampled = {"temperature": 0, "top_p": 1}
    for name in settings:
        value = getattr(request, name)
        if value not in (None, unsampled.get(name)):
            why = "an index of neighbours answers here, and decodes no tokens"
            raise Refused(422, f"{name} is {value}: {why}. Leave it out.", param=name, code="outside_limits")


def _settings(request: ChatRequest, config: ServiceConfig) -> Settings:
    if request.n != 1:
        raise _outside("n", request.n, "exactly 1 answer per request", "Send the request again for another answer.")
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        both = "max_tokens and max_completion_tokens are two names of one limit. Send one of both."
        raise Refused(422, both, param="max_tokens", code="outside_limits")
    asked = request.max_completion_tokens if request.max_tokens is None else request.max_tokens
    max_tokens = config.default_tokens if asked is None else asked
    if not 1 <= max_tokens <= config.max_tokens:
        raise _outside("max_tokens", max_tokens, f"1 to {config.max_tokens}", "Ask for a shorter answer.")
    if not 0 <= request.temperature <= 2:
        raise _outside("temperature", request.temperature, "0 to 2", "0 gives the most likely answer.")
    if not 0 < request.top_p <= 1:
        raise _outside("top_p", request.top_p, "above 0, up to 1", "1 keeps every token.")
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    if not 0 <= seed < 2**63:
        raise _outside("seed", seed, "0 to 2^63 - 1", "Choose a smaller number.")
    return Settings(max_tokens, request.temperature, request.top_p, seed)


def _one_turn(messages: list[Message]) -> None:
    """The models of this product are trained on one question at a time, without a system prompt."""
    if len(messages) == 1 and messages[0].role == "user":
        return
    roles = ", ".join(message.role for message in messages)
    raise _outside(
        "messages",
        f"[{roles}]",
        "one user message, as in training",
        "Put question and proteins into one message.",
    )


def _content(message: Message, config: ServiceConfig, card: ModelCard) -> tuple[list[Protein], str]:
    """Proteins and the question. The prompt has the proteins first, whatever the order of the parts, as in training."""
    proteins, texts = [], []
    for number, part in enumerate(message.content):
        if isinstance(part, ProteinPart):
            proteins.append(_protein(part, f"messages[0].content[{number}].protein", card))
        else:
            texts.append(part.text)
    if not 1 <= len(proteins) <= config.max_proteins:
        remedy = 'Add parts {"type": "protein", "protein": {"sequence": …}}.' if not proteins else "Split the request."
        limit = f"1 to {config.max_proteins} in one request"
        raise _outside("messages[0].content", f"{len(proteins)} proteins", limit, remedy)
    text = "\n".join(texts)
    if not text.strip():
        raise _outside("messages[0].content", "an empty question", "some text", 'Add a part {"type": "text", …}.')
    if PLACEHOLDER in text:
        remedy = "Leave it out of the text; proteins come as parts of their own."
        reserved = f"messages[0].content holds {PLACEHOLDER} in its text, which stands for a protein. {remedy}"
        raise Refused(422, reserved, param="messages[0].content", code="outside_limits")
    return proteins, text


def _protein(part: ProteinPart, place: str, card: ModelCard) -> Protein:
    given = part.protein
    text = given.fasta if given.sequence is None else given.sequence
    assert text is not None, "ProteinInput holds exactly one form"
    try:
        protein = parse_protein(text, record=place, max_residues=card.max_residues)
    except RecordError as error:
        raise Refused(422, str(error), param=place, code=_code(error)) from None
    if given.accession is not None:
        return Protein(given.accession, protein.sequence)
    return Protein("", protein.sequence) if protein.accession == place else protein


def _code(error: RecordError) -> str:
    """``InvalidResidue`` as ``invalid_residue``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(error).__name__)[1:]


def _outside(place: str, value: object, limit: str, remedy: str) -> Refused:
    return Refused(422, f"{place} is {value}; the limit is {limit}. {remedy}", param=place, code="outside_limits")
