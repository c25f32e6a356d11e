"""Which patches that were sent to upstream it has taken, as the probes on bare upstream show.

Neither a header nor upstream's page decides, and nothing here runs anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scripts.core.model import NO_EVIDENCE, Patch, State, Verdict
from scripts.series.trailers import Trailers
from scripts.verdicts.aggregate import FeatureReport, Report


@dataclass(frozen=True)
class ForwardedPatch:
    """A live patch that was sent: where to, and the first release that has all of its features.

    `is_known` is False if the report lacks one of its features, so that it cannot say.
    """

    patch: str
    address: str
    taken_in: str | None = None
    is_known: bool = True


def forwarded_patches(report: Report) -> Iterator[ForwardedPatch]:
    """Yield the live patches with an address in `Forwarded:`, in the order of the series."""
    for patch in report.patches:
        address = Trailers(patch.trailers).value("Forwarded")
        if patch.state is State.ACTIVE and "://" in address:
            items = [item for item in report.features if item.feature.patch.id == patch.id]
            if _is_complete(patch, items):
                yield ForwardedPatch(patch.id, address, taken_in(items))
            else:
                yield ForwardedPatch(patch.id, address, is_known=False)


def taken_in(items: Sequence[FeatureReport]) -> str | None:
    """Return the first release from which on bare upstream passes every feature, or None.

    A release that says nothing about a feature is passed over.
    """
    found = None
    for release in reversed([at.release for at in items[0].releases] if items else []):
        verdicts = {at.verdict for item in items if (at := item.release(release))}
        if verdicts == {Verdict.ABSORBED}:
            found = release
        elif not verdicts <= NO_EVIDENCE | {Verdict.ABSORBED}:
            break
    return found


def _is_complete(patch: Patch, items: Sequence[FeatureReport]) -> bool:
    return {item.feature.id for item in items} >= set(patch.features or (patch.id,))
