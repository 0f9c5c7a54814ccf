"""Pure modules reach each other as Salt's loader would let them."""

import inspect

from _modules import netboot_dhcp, netboot_hosts, netboot_keys, netboot_pillar, netboot_ports

MODULES = (netboot_dhcp, netboot_hosts, netboot_keys, netboot_pillar, netboot_ports)

SALT = {
    f"{module.__virtualname__}.{name}": function
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if not name.startswith("_")
}
for module in MODULES:
    module.__salt__ = SALT
