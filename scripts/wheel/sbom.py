"""The wheel's bill of materials (CycloneDX, PEP 770).

It lists upstream's release, how it was changed, and what the fork adds.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

from cyclonedx.model import AttachedText, HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import (
    Component,
    ComponentType,
    Diff,
    Patch,
    PatchClassification,
    Pedigree,
)
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from scripts.core import model
from scripts.wheel.provenance import Provenance

_VERSION = SchemaVersion.V1_6
_NAMESPACE = uuid.UUID("0e2f8a52-6b0c-5a86-9d6b-6a5b8a7f2c11")
"""The namespace of serial numbers, which depend only on the name, the version and the tree."""


def sbom(name: str, version: str, package: str, provenance: Provenance) -> bytes:
    """Return a wheel's bill of materials as JSON; the same arguments give the same bytes."""
    upstream = _upstream(name, provenance.release)
    patches = [_patch(patch) for patch in provenance.patches]
    wheel = Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref="wheel",
        purl=_purl(name, version),
        modified=True,
        pedigree=Pedigree(ancestors=[upstream], patches=patches),
        properties=_properties(provenance.patches),
    )
    added = Component(name=package, version=version, type=ComponentType.LIBRARY, bom_ref=package)
    bom = Bom(
        # Not the time of the build, because equal contents have equal bytes.
        metadata=BomMetaData(component=wheel, timestamp=provenance.release.uploaded),
        components=[added],
        serial_number=uuid.uuid5(_NAMESPACE, f"{name} {version} {provenance.tree}"),
    )
    bom.register_dependency(wheel, [added])
    document = json.loads(make_outputter(bom, OutputFormat.JSON, _VERSION).output_as_string())
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _upstream(name: str, release: model.Release) -> Component:
    return Component(
        name=name,
        version=release.version,
        type=ComponentType.LIBRARY,
        bom_ref="upstream",
        purl=_purl(name, release.version, file_name=release.file),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=release.sha256)],
    )


def _patch(patch: model.Patch) -> Patch:
    """Return a patch as CycloneDX describes one: its kind and its text."""
    backport = any(
        name == "Origin" and value.startswith("backport") for name, value in patch.trailers
    )
    kind = PatchClassification.BACKPORT if backport else PatchClassification.UNOFFICIAL
    text = AttachedText(content=patch.path.read_text(encoding="utf-8"), content_type="text/x-diff")
    return Patch(type=kind, diff=Diff(text=text))


def _properties(patches: Sequence[model.Patch]) -> list[Property]:
    """Return each patch's id and its file's sha256, for which CycloneDX has no field."""
    return [
        Property(name=f"fork:patch:{patch.id}", value=f"sha256:{patch.sha256}") for patch in patches
    ]


def _purl(name: str, version: str, **qualifiers: str) -> PackageURL:
    return PackageURL("pypi", None, canonicalize_name(name), version, qualifiers)


def sbom_problem(content: bytes) -> str:
    """Return how a bill of materials violates CycloneDX's own schema, or an empty string."""
    # Imported here, because this imports a grammar, which takes seconds.
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    wrong = JsonStrictValidator(_VERSION).validate_str(content.decode())
    return "" if wrong is None else str(wrong)
