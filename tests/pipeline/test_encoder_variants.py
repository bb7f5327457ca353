"""Which variants there are, and what a config says to read each of them."""

from pathlib import Path
from typing import Any

import pytest

from recsys.errors import ConfigError
from recsys.model.config import EncoderConfig
from recsys.pipeline.encoders.compress_encoder import teacher_digest
from recsys.pipeline.encoders.compressed_encoder import CompressedNote, read_note, require_compressed, write_note
from recsys.pipeline.encoders.encoder_variants import usual_variants, variants_of
from recsys.pipeline.encoders.measure_encoder import spread
from recsys.storage.filesystem import Storage
from recsys.training.compress_config import CompressConfig


def test_the_usual_variants_are_those_of_the_settings_and_of_the_machine() -> None:
    compress = CompressConfig(layers=[3, 4])
    assert usual_variants(compress, []) == ["full", "vocabulary", "layers-3", "layers-4"]
    assert usual_variants(CompressConfig(layers=[3], vocabulary=False), ["onnx", "int8"]) == [
        "full", "layers-3", "full+onnx", "full+int8", "layers-3+onnx", "layers-3+int8"
    ]  # fmt: skip
    full, student = variants_of(["layers-3+int8", "full", "layers-3+int8"], compress)
    assert (full.name, full.is_made) == ("full", False)
    assert (student.weights, student.layers, student.vocabulary, student.engine) == ("layers-3", 3, True, "int8")


@pytest.mark.parametrize("name", ["", "tiny", "layers-0", "layers-", "full+", "full+fp8", "vocabulary+int8+onnx"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--variants .*: there are full, vocabulary, and layers-N"):
        variants_of([name], CompressConfig())


def test_a_config_that_reads_a_variant_is_valid() -> None:
    base: dict[str, Any] = {"model": "owner/name", "revision": "abc", "pooling": "cls", "adapt": {"steps": 5}}
    spec = EncoderConfig(**base, train="baskets", precision="bf16")
    for variant in variants_of(["vocabulary", "layers-3+onnx", "layers-3+int8"], CompressConfig())[1:]:
        read = variant.config(spec, "compressed://x-1")
        assert EncoderConfig(**read.model_dump()) == read
        assert EncoderConfig(**variant.settings("compressed://x-1")).model == "compressed://x-1"
        assert (read.train, read.pooling, read.revision, read.is_adapted) == ("frozen", "auto", None, False)


@pytest.mark.parametrize("teacher", ["/no/such", "storage:///shop", "package://no_such_package/model"])
def test_a_teacher_that_is_not_found_is_named_with_the_way_out(teacher: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^compress.teacher={teacher}: .*; (else )?give a hub id, a local folder or"
    ) as error:
        teacher_digest(CompressConfig(teacher=teacher), 64)
    assert "encoder.model" not in str(error.value)


def test_a_teacher_that_is_no_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=f"^compress.teacher={tmp_path}: cannot be read as a text encoder: .*cannot be"
    ):
        teacher_digest(CompressConfig(teacher=str(tmp_path)), 64)


def test_a_model_is_named_only_where_it_is_finished(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    note = CompressedNote(source="a", model=None, revision=None, teacher="", layers=None, tokens=3, agreement=None)
    storage.write_bytes("models/compressed-encoders/half-1/config.json", b"{}")
    assert read_note(storage, "compressed://half-1") is None
    with pytest.raises(ConfigError, match=r"has no such encoder \(there: none\)"):
        require_compressed(storage, "compressed://half-1")
    write_note(storage, "compressed://half-1", note)
    assert require_compressed(storage, "compressed://half-1") == note
    with pytest.raises(ConfigError, match=r"there: compressed://half-1"):
        require_compressed(storage, "compressed://other-2")
    for bad in ("compressed://../../x", "compressed://", "compressed://a/b"):
        with pytest.raises(ConfigError, match="is no name of an encoder"):
            require_compressed(storage, bad)


def test_timed_texts_are_spread_over_all_texts() -> None:
    assert spread([f"{number:03d}" for number in range(511)], 5) == ["000", "102", "204", "306", "408"]
    assert spread(["a", "b"], 5) == ["a", "b"]
