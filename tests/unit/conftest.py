"""Pure modules reach each other as Salt's loader would let them."""

import inspect

from _modules import netboot_dhcp, netboot_hosts, netboot_keys, netboot_pillar

SALT = {
    f"{module.__virtualname__}.{name}": function
    for module in (netboot_dhcp, netboot_hosts, netboot_keys, netboot_pillar)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if not name.startswith("_")
}
for module in (netboot_dhcp, netboot_hosts, netboot_keys, netboot_pillar):
    module.__salt__ = SALT
