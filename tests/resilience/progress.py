"""What is said on the terminal while scenarios are played."""

from collections import Counter

from tests.resilience.conductor import Played

MOST_BREACHES = 5


def line(number: int, total: int, played: Played) -> str:
    """One scenario in a line, and each of its first breaches in another."""
    failures = Counter(f"{each.status} {each.code}".removeprefix("0 ") for each in played.failures)
    told = ", ".join(f"{count} {what}" for what, count in failures.most_common()) or "no errors"
    quick = f"{played.untouched_p99 * 1000:.0f} ms" if played.untouched_p99 is not None else "nobody"
    verdict = f"BROKEN, {len(played.breaches)}" if played.breaches else "held"
    head = (
        f"[{number:2}/{total}] {played.scenario.name:<28} {verdict:<10} {len(played.outcomes):5} answers, {told}; "
        f"untouched p99 {quick}; served again after {played.recovered_after:.1f} s"
    )
    broken = [f"        {breach}" for breach in played.breaches[:MOST_BREACHES]]
    notes = [f"        {note}" for note in played.notes]
    return "\n".join([head, *notes, *broken])
