"""What an installed moviehub is made of, as a CycloneDX document: every package of the lock that running it needs.

Neither the development tools nor the `local` extra are in it, since the image has neither. The same lock and version
give the same bytes on every machine: there is no time in it, and its serial number follows from the rest.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from moviehub import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@dataclass(frozen=True)
class Pin:
    """A package as the lock pins it, and what asks for it; without a marker it is installed everywhere."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    wanted_by: frozenset[str]


def pins() -> list[Pin]:
    """The packages of the lock."""
    blocks = re.split(r"^(?=\w)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)[1:]
    found = []
    for block in blocks:
        name, version, marker = re.findall(r"^(\S+)==(\S+)(?: ; (.*))? \\$", block, flags=re.MULTILINE)[0]
        hashes = re.findall(r"--hash=sha256:(\w+)", block)
        wanted_by = re.findall(r"^ +# (?:via)? +([\w-]+)", block, flags=re.MULTILINE)
        found.append(Pin(name, version, marker, tuple(hashes), frozenset(wanted_by)))
    return found


def closure(roots: Iterable[str], all_pins: list[Pin]) -> list[Pin]:
    """The pins that the roots need, they among them."""
    needed = set(roots)
    while more := {pin.name for pin in all_pins if pin.wanted_by & needed} - needed:
        needed |= more
    return [pin for pin in all_pins if pin.name in needed]


def component(pin: Pin) -> Component:
    """A pin in CycloneDX's words; it has one hash for each file that the package may be installed from."""
    purl = PackageURL("pypi", name=pin.name, version=pin.version)
    return Component(
        name=pin.name,
        version=pin.version,
        purl=purl,
        bom_ref=str(purl),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content) for content in pin.hashes],
        properties=[Property(name="moviehub:environment-marker", value=pin.marker)] if pin.marker else [],
    )


def document() -> str:
    """The whole document."""
    roots = [canonicalize_name(Requirement(wanted).name) for wanted in PROJECT["dependencies"]]
    needed = closure(roots, pins())
    components = {pin.name: component(pin) for pin in needed}
    whole = Component(
        type=ComponentType.APPLICATION,
        name=PROJECT["name"],
        version=__version__,
        bom_ref=PROJECT["name"],
        description=PROJECT["description"],
        licenses=[LicenseExpression(PROJECT["license"])],
    )
    bom = Bom(components=components.values())
    bom.metadata.component = whole
    bom.register_dependency(whole, [components[name] for name in roots])
    for name, part in components.items():
        bom.register_dependency(part, [components[pin.name] for pin in needed if name in pin.wanted_by])
    told = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    del told["metadata"]["timestamp"], told["serialNumber"]
    told["serialNumber"] = f"urn:uuid:{uuid5(NAMESPACE_OID, json.dumps(told))}"
    return json.dumps(told, indent=2) + "\n"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.parent.mkdir(exist_ok=True)
    place.write_text(document())
    print(f"{place}: moviehub {__version__} and what it is made of")
