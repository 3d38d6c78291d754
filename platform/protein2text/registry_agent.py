"""The model as MLflow loads it, from code. MLflow copies this file into each version and runs it on load.

Ask with the Responses schema: the question as the last user message, the proteins in ``custom_inputs``::

    {"input": [{"role": "user", "content": "What does it bind?"}],
     "custom_inputs": {"proteins": [{"sequence": "MKTAYIAKQR"}]}}
"""

from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModelContext, ResponsesAgent
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse

from protein2text.errors import RecordError
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from protein2text.proteins import clean_sequence


class ProteinAgent(ResponsesAgent):
    """Answers a question about the proteins of a request; greedy unless a temperature is given."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the native folder that lies beside this code, after checking its manifest."""
        self._model = ProteinToText.from_pretrained(context.artifacts["model"])

    # MLflow declares the signature of an older kind of model and inspects this one.
    def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:  # type: ignore[override]
        """Answer one request.

        Raises:
            RecordError: no protein, or a sequence that is not one.
        """
        settings = Decoding(
            temperature=request.temperature or 0.0,
            top_p=request.top_p or 1.0,
            max_new_tokens=request.max_output_tokens or 64,
        )
        (answer,) = self._model.ask([self._sequences(request.custom_inputs or {})], _question(request), settings)
        return ResponsesAgentResponse(output=[self.create_text_output_item(text=answer.text, id="answer")])

    def _sequences(self, inputs: dict[str, Any]) -> list[str]:
        proteins = inputs.get("proteins") or []
        if not proteins:
            remedy = 'Send custom_inputs={"proteins": [{"sequence": "..."}]}.'
            raise RecordError("request", "custom_inputs.proteins", "no protein", "at least one is needed", remedy)
        letters = self._model.reading.alphabet.letters
        return [
            clean_sequence(protein["sequence"], record=f"protein {number}", alphabet=letters)
            for number, protein in enumerate(proteins, start=1)
        ]


def _question(request: ResponsesAgentRequest) -> str:
    content = request.input[-1].model_dump()["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


set_model(ProteinAgent())
