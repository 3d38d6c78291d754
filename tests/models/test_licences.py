"""What the licences of a model's parts allow, together."""

from pathlib import Path

from protein2text.models.licences import Licence, Licences, licence_of_weights


def licences(
    encoder: str = "mit", decoder: str = "apache-2.0", corpus: str = "cc-by-4.0", qa: str = "none"
) -> Licences:
    named = zip(("encoder", "decoder", "corpus", "qa_generator"), (encoder, decoder, corpus, qa), strict=True)
    return Licences(tuple(Licence(part, f"the {part}", licence) for part, licence in named))


def test_commercial_use_is_what_the_strictest_part_allows() -> None:
    assert licences().commercial_use == (
        "yes",
        "every part allows it (corpus: with attribution; qa generator: no such part)",
    )
    verdict, because = licences(decoder="llama3.1", corpus="cc-by-nc-4.0", encoder="unknown").commercial_use
    assert verdict == "no"
    assert "corpus" in because
    assert "encoder" not in because
    assert licences(qa="somebody's own").commercial_use[0] == "unknown"
    assert "700 million" in licences(decoder="llama3.1").commercial_use[1]


def test_texts_written_by_a_llama_make_a_model_built_with_llama() -> None:
    assert not licences().built_with_llama
    assert licences(qa="llama3.1").built_with_llama
    assert licences(decoder="llama3").built_with_llama


def test_a_licence_is_read_from_the_weights_own_files(tmp_path: Path) -> None:
    assert licence_of_weights(str(tmp_path), tmp_path) == "unknown"
    assert licence_of_weights("/data/Llama-3.1-8B-Instruct", tmp_path) == "llama3.1"
    (tmp_path / "LICENSE").write_text("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\n")
    assert licence_of_weights(str(tmp_path), tmp_path) == "llama3.2"
    (tmp_path / "README.md").write_text("---\nlanguage: en\nlicense: cc-by-nc-4.0\n---\n# Model\n")
    assert licence_of_weights("/data/Llama-3.1-8B-Instruct", tmp_path) == "cc-by-nc-4.0"
