"""Every reader that is fuzzed, by name. A target raises where the reader breaks a promise, whatever the bytes are."""

from collections.abc import Callable

from tests.fuzz import gateway_targets, http_targets, todos_targets

TARGETS: dict[str, Callable[[bytes], None]] = {
    "head": http_targets.head,
    "chunks": http_targets.chunks,
    "path": gateway_targets.path,
    "token": gateway_targets.token,
    "key-set": gateway_targets.key_set,
    "forwarded": gateway_targets.forwarded,
    "query": todos_targets.query,
    "position": todos_targets.position,
    "entity-tags": todos_targets.entity_tags,
    "json": todos_targets.json_text,
    "merge-patch": todos_targets.merge_patch,
    "import": todos_targets.import_,
    "rule": todos_targets.rule,
    "calendar": todos_targets.calendar,
}
