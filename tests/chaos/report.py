"""What a person reads of a run."""

from collections import Counter

from tests.chaos.judge import Round, as_json, quantile

MOST = 12  # of the findings of a kind


def as_document(rounds, seed, subject):
    """Return all of it as JSON can write it."""
    return {
        "subject": subject,
        "seed": seed,
        "clean": is_clean(rounds),
        "rounds": [as_json(found) for found in rounds],
    }


def is_clean(rounds):
    """Return whether there is nothing to look at."""
    return not any(found.problems for found in rounds)


def text(rounds, seed, subject):
    """Return the report."""
    lines = [f"{subject}, seed {seed}:"]
    for found in rounds:
        lines += _round(found)
    lines.append(
        "clean" if is_clean(rounds) else f"not clean; the same faults again: --seed {seed}"
    )
    return "\n".join(lines)


def _round(found: Round):
    counts = found.counts
    rate = "-" if found.hit_rate is None else f"{100 * found.hit_rate:.0f} %"
    yield (
        f"{found.server}, {found.place}, {found.seconds:.0f} s: {counts['reads']:,} reads, {counts['hits']:,} hits ({rate} between faults), "
        f"{counts['writes']:,} writes, {sum(found.counts_by_fault.values())} faults, {found.restarts} processes started anew"
    )
    yield "  faults: " + ", ".join(
        f"{name} {number}" for name, number in sorted(found.counts_by_fault.items())
    )
    if found.unanswered_writes:
        yield f"  writes that Redis did not hear: {len(found.unanswered_writes)}"
    for (kind, where), times in sorted(found.times.items(), reverse=True):
        yield f"  {kind}s {where} of faults: {_milliseconds(times)}"
    yield from _findings("violations", found.violations, _violation, _same_violation, "query")
    yield from _findings(
        "within a bound",
        found.within_bound,
        lambda line: f"{_violation(line)}: {line['bound']}",
        _same_violation,
        "query",
    )
    yield from _findings(
        "exceptions that plain Django lacks", found.exceptions, _exception, _same_exception, "name"
    )
    yield from _findings(
        "exceptions that plain Django has, too",
        found.shared_exceptions,
        _exception,
        _same_exception,
        "name",
    )
    for words in found.failed_faults:
        yield f"  could not be made: {words}"
    for problem in found.problems:
        yield f"  to look at: {problem}"


def _milliseconds(times):
    every = (
        (name, quantile(times, share)) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))
    )
    return ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in every)


def _findings(title, lines, show, sameness, detail):
    if not lines:
        return
    yield f"  {title}: {len(lines)}"
    kinds = Counter(map(sameness, lines))
    for key, number in kinds.most_common(MOST):
        same = [line for line in lines if sameness(line) == key]
        details = ", ".join(
            f"{name} {count}"
            for name, count in Counter(line[detail] for line in same).most_common(MOST)
        )
        yield f"    {number} times ({details}), first {show(same[0])}"


def _same_violation(line):
    return line["under"], line["got"] > line["most"], line["own"], line.get("bound")


def _same_exception(line):
    return line["under"], line["kind"], line["words"][:60]


def _violation(line):
    wrong = (
        f"got {line['got']} after {line['noted']} was published"
        if line["got"] < line["noted"]
        else f"got {line['got']}, at most {line['most']} was ever written"
    )
    hit = "a hit" if line["hit"] else "no hit"
    own = ", its own write" if line["own"] else ""
    return f"{line['query']}, {line['key']}: {wrong} {line['age']:.1f} s before ({hit}{own}; process {line['process']}, {line['style']}; {_under(line)})"


def _exception(line):
    what = "write" if line["is_write"] else "read"
    where = line["frames"][-1] if line["frames"] else ""
    return f"{what} {line['name']}: {line['kind']}: {line['words'].splitlines()[0] if line['words'] else ''} ({where}; process {line['process']}, {line['style']}; {_under(line)})"


def _under(line):
    if line["under"] == "none":
        return "before any fault"
    ended = f", {line['after']:.1f} s after its end" if line["after"] else ""
    return f"{line['under']} (number {line['fault']}) {line['since']:.1f} s ago{ended}"
