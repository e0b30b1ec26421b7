"""The views of a configuration folder, and those that a program gives beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fs_spark.config_files import faults_of, place_of, placer, read_part
from fs_spark.documents import Document, read_document
from fs_spark.errors import ConfigError
from fs_spark.features.texts import ViewText
from fs_spark.features.view import FeatureView
from fs_spark.view_texts import PlacedText


def view_files(folder: Path, faults: list[str]) -> tuple[list[tuple[FeatureView, str]], list[PlacedText]]:
    """The texts of views: spatial ones, which need nothing else, and those of other kinds."""
    spatial: list[tuple[FeatureView, str]] = []
    texts: list[PlacedText] = []
    for file in sorted((folder / "views").glob("*.yaml")):
        model = FeatureView if is_spatial(file) else ViewText
        text, document = read_part(file, model, faults, needed=True)
        if isinstance(text, FeatureView):
            spatial.append((text, place_of(file, document, ("parameters",))))
        elif text is not None:
            texts.append(PlacedText(text, placer(file, document)))
    return spatial, texts


def given_views(given: Sequence[Any], faults: list[str]) -> tuple[list[tuple[FeatureView, str]], list[PlacedText]]:
    """Views written in Python: what a text would hold, as a mapping, or a spatial view."""
    spatial: list[tuple[FeatureView, str]] = []
    texts: list[PlacedText] = []
    for at, one in enumerate(given):
        place, empty = Path(f"views[{at}]"), Document(None, None)
        if isinstance(one, FeatureView):
            spatial.append((one, place.name))
            continue
        if not isinstance(one, Mapping):
            faults.append(
                f"{place}: a {type(one).__name__}. Hint: give what the view's text would hold, as a mapping, or a "
                "FeatureView"
            )
            continue
        model = FeatureView if _says_spatial(one) else ViewText
        try:
            text = model.model_validate(dict(one))
        except ValidationError as error:
            faults.extend(faults_of(place, empty, model, error))
            continue
        if isinstance(text, FeatureView):
            spatial.append((text, place.name))
        else:
            texts.append(PlacedText(text, placer(place, empty)))
    return spatial, texts


def reads(text: ViewText, entities: Collection[str], sources: Collection[str]) -> bool:
    return text.entity in entities or any(one.source in sources for one in text.transform.inputs)


def is_spatial(file: Path) -> bool:
    """Whether a view's text names no transform, or the spatial one."""
    try:
        content = read_document(file.read_text(encoding="utf-8")).content
    except (ConfigError, UnicodeDecodeError):
        return True
    return _says_spatial(content)


def _says_spatial(content: Any) -> bool:
    transform = content.get("transform") if isinstance(content, Mapping) else None
    return transform is None or (isinstance(transform, Mapping) and transform.get("kind", "spatial") == "spatial")
