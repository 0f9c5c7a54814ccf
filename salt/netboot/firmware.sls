# iPXE boot loaders in the TFTP root.
{%- from "netboot/map.jinja" import config, order, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems %}

netboot-firmware-packages:
  netboot_packages.installed:
    - name: boot loaders
    - pkgs: {{ config.platform.packages.firmware | json }}

netboot-firmware:
  netboot_tftp.firmware_copied:
    - name: boot loaders
    - require:
      - netboot_packages: netboot-firmware-packages
      - file: netboot-staging

# After all images were inspected.
netboot-firmware-complete:
  netboot_tftp.firmware_complete:
    - name: boot loaders
    - order: {{ order.complete }}
{%- endif %}
