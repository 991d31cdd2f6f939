"""The ports of the local stack, from the environment, and whether they can be had."""

import dataclasses
from collections.abc import Mapping
from typing import Self

from devtools.processes import LOOPBACK, free_port, port_fault

HIGHEST_PORT = 65535


class AddressError(Exception):
    """A port cannot be used; the message says which, and what to set."""


@dataclasses.dataclass(frozen=True)
class Ports:
    """Each is read from the variable of its name and `_PORT`; 0 stands for any free one."""

    gateway: int = 8000
    gateway_admin: int = 9000
    todos: int = 8001
    todos_admin: int = 9001
    idp: int = 8080
    postgres: int = 0
    valkey: int = 0

    @classmethod
    def choose(cls, environment: Mapping[str, str]) -> Self:
        """The ports to use, none of them 0, none used by another program, no two the same.

        Raises:
            AddressError: the environment asks for an impossible port.
        """
        defaults = dataclasses.asdict(cls())
        variables = {name: f"{name.upper()}_PORT" for name in defaults}
        wanted = {
            name: _number(variable, environment.get(variable) or str(defaults[name]))
            for name, variable in variables.items()
        }
        chosen: dict[int, str] = {}
        for name, port in wanted.items():
            if port in chosen:
                raise AddressError(f"{chosen[port]} and {variables[name]} are both {port}; set one to another port.")
            if port:
                chosen[port] = variables[name]
        _check(chosen)
        for name, port in wanted.items():
            if port == 0:
                wanted[name] = _other_than(chosen)
                chosen[wanted[name]] = variables[name]
        return cls(**wanted)

    @property
    def urls(self) -> dict[str, str]:
        """The URLs of what speaks HTTP."""
        named = {name: getattr(self, name) for name in ("gateway", "gateway_admin", "todos", "todos_admin", "idp")}
        return {name: f"http://{LOOPBACK}:{port}" for name, port in named.items()}


def _number(variable: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= HIGHEST_PORT):
        raise AddressError(f"{variable} is {text!r}, not a port: give a number from 0 to {HIGHEST_PORT}.")
    return int(text)


def _check(chosen: Mapping[int, str]) -> None:
    faults = {port: fault for port in chosen if (fault := port_fault(port))}
    if faults:
        listed = ", ".join(f"port {port} ({chosen[port]}) {fault}" for port, fault in faults.items())
        example = f"{chosen[next(iter(faults))]}={free_port()}"
        raise AddressError(f"Cannot start: {listed}. Choose another, for example: {example} make run")


def _other_than(chosen: Mapping[int, str]) -> int:
    while (port := free_port()) in chosen:
        pass
    return port
